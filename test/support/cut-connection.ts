import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export type CuttableConnection = AsyncDisposable & {
  /** Like that of the server behind it. */
  url: string;
  /** How many connections were cut. */
  readonly cuts: number;
  /** Breaks every connection that is open, without a word; new ones are let through. */
  cut(): void;
  /** Lets the next request through and breaks its connection when the answer comes; `answersLost` rises. */
  loseNextAnswer(): void;
  readonly answersLost: number;
};

/** A way to the server at `url` ("http://127.0.0.1:4000/graphql") that a test can cut; on any free port unless told otherwise. */
export async function openCuttableConnection(url: string, ownPort = 0): Promise<CuttableConnection> {
  const { port, pathname } = new URL(url);
  const open = new Set<Socket>();
  let cuts = 0;
  let losesNext = false;
  let answersLost = 0;
  const server = createServer((incoming) => {
    const outgoing = connect(Number(port), '127.0.0.1');
    for (const socket of [incoming, outgoing]) {
      socket.on('error', () => {}).on('close', () => (socket === incoming ? outgoing : incoming).destroySoon());
    }
    incoming.pipe(outgoing).on('data', (chunk) => {
      if (!losesNext) return void incoming.write(chunk);
      losesNext = false;
      answersLost++;
      incoming.resetAndDestroy();
    });
    open.add(incoming);
    incoming.once('close', () => open.delete(incoming));
  });
  const cut = () => {
    for (const socket of open) {
      socket.resetAndDestroy();
      cuts++;
    }
  };
  await once(server.listen(ownPort, '127.0.0.1'), 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${pathname}`,
    get cuts() {
      return cuts;
    },
    cut,
    loseNextAnswer: () => {
      losesNext = true;
    },
    get answersLost() {
      return answersLost;
    },
    async [Symbol.asyncDispose]() {
      cut();
      await once(server.close(), 'close');
    },
  };
}
