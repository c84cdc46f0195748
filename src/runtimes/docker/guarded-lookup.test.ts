import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { engineIdentity } from './connection.ts';

it('should not reach the own machine by a name, unless that was allowed', async () => {
  let asked = 0;
  const server = createServer((_, response) => {
    asked++;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ ApiVersion: '1.45', ID: 'engine', Name: 'here', ServerVersion: '27' }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = `tcp://localhost:${(server.address() as AddressInfo).port}`;
  try {
    await expect(engineIdentity({ endpoint, isLocal: false })).rejects.toThrow("the server's own machine");
    expect(asked).toBe(0);
    expect(await engineIdentity({ endpoint, isLocal: true })).toMatchObject({ id: 'engine' });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
