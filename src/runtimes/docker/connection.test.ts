import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Engine } from './connection.ts';

let folder: string;
let server: Server;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'engine-'));
  server = createServer(({ url }, response) => {
    if (url?.startsWith('/version'))
      response.setHeader('content-type', 'application/json').end('{"ApiVersion":"1.47"}');
    else response.end('the last words');
  });
  await once(server.listen(join(folder, 'socket')), 'listening');
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});

it('should survive that a request is aborted just as its answer has ended', async () => {
  const engine = new Engine({ endpoint: `unix://${join(folder, 'socket')}`, isLocal: true });
  const faults: unknown[] = [];
  const onFault = (fault: unknown) => faults.push(fault);
  process.on('uncaughtException', onFault);
  const soon = [(abort: () => void) => abort(), queueMicrotask, setImmediate, process.nextTick];
  for (let round = 0; round < 40; round++) {
    const cancel = new AbortController();
    const answer = await engine.stream('GET', '/containers/any/logs', { signal: cancel.signal });
    const read = Array.fromAsync(answer, () => soon[round % soon.length]!(() => cancel.abort()));
    await read.catch(() => undefined);
  }
  process.off('uncaughtException', onFault);
  engine.close();
  expect(faults).toEqual([]);
});
