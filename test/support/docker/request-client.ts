import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { eventually } from '../eventually.ts';
import type { Seen } from './ingress-client.ts';
import type { OwnEngine } from './own-engine.ts';

const CLIENT = join(import.meta.dirname, 'ingress-client.ts');
const LOOPS = '8';

export type RequestClient = {
  readonly seen: Seen;
  /** Waits until it has asked so much more. */
  whenAsked(more: number): Promise<unknown>;
  whenAnsweredBy(version: string): Promise<unknown>;
  /** What came of all of it. */
  end(): Promise<Seen>;
};

/** A client that asks a page of a published port all the time, see ingress-client.ts. */
export function startClient(on: OwnEngine, port: number): RequestClient {
  const child = on.spawn(process.execPath, CLIENT, `http://127.0.0.1:${port}/`, LOOPS);
  let seen: Seen = { requests: 0, kept: 0, failures: [], versions: {} };
  createInterface(child.stdout).on('line', (line) => {
    seen = JSON.parse(line);
  });
  const ended = new Promise((resolve) => {
    child.on('close', resolve);
  });
  return {
    whenAsked(more: number) {
      const enough = seen.requests + more;
      return eventually('enough requests', () => seen.requests >= enough);
    },
    whenAnsweredBy: (version: string) => eventually(`an answer of ${version}`, () => seen.versions[version]),
    get seen() {
      return seen;
    },
    async end() {
      child.stdin.end();
      await ended;
      return seen;
    },
  };
}
