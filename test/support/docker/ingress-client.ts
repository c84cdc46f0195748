import http from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';

/** What came of the requests so far; `kept`: those over a connection that had been used before. */
export type Seen = { requests: number; kept: number; failures: string[]; versions: Record<string, number> };

const TELL_EVERY_MS = 100;
const PAUSING_LOOPS = 4;
const PAUSES_MS = [300, 2_500];

/**
 * Asks the same page over and over: half of the loops with a new connection each time, half over connections of their own that are kept,
 * and a few more of these pause in between. Nothing is tried again. Prints a line of `Seen` every tenth of a second and at last.
 */
async function main(url: string, loops: number): Promise<void> {
  const seen: Seen = { requests: 0, kept: 0, failures: [], versions: {} };
  const ending = new AbortController();
  const tell = () => console.log(JSON.stringify(seen));
  const telling = setInterval(tell, TELL_EVERY_MS);
  process.stdin.resume().on('end', () => ending.abort());

  const loop = async (agent: http.Agent | false, pauses: number[] = []) => {
    for (let turn = 0; !ending.signal.aborted; turn += 1) {
      await ask(url, agent, seen);
      if (pauses.length > 0) await pause(pauses[turn % pauses.length]);
    }
  };
  const kept = () => new http.Agent({ keepAlive: true, maxSockets: 1 });
  await Promise.all([
    ...Array.from({ length: loops / 2 }, () => loop(false)),
    ...Array.from({ length: loops / 2 }, () => loop(kept())),
    ...Array.from({ length: PAUSING_LOOPS }, () => loop(kept(), PAUSES_MS)),
  ]);
  clearInterval(telling);
  tell();
  process.exit(0);
}

function ask(url: string, agent: http.Agent | false, seen: Seen): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const failed = (reason: string) => {
    seen.failures.push(reason);
    resolve();
  };
  const brokenOff = (error: NodeJS.ErrnoException) => failed(error.code ?? error.message);
  const request = http.get(url, { agent }, (response) => {
    let body = '';
    response.setEncoding('utf8');
    response.on('data', (chunk) => {
      body += chunk;
    });
    response.on('error', brokenOff);
    response.on('end', () => {
      if (response.statusCode !== 200) return failed(`status ${response.statusCode}`);
      if (request.reusedSocket) seen.kept += 1;
      const version = body.trim();
      seen.versions[version] = (seen.versions[version] ?? 0) + 1;
      resolve();
    });
  });
  seen.requests += 1;
  request.on('error', brokenOff);
  return promise;
}

if (import.meta.main) await main(process.argv[2]!, Number(process.argv[3]));
