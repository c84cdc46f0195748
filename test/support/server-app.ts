import { setTimeout as sleep } from 'node:timers/promises';
import { readAnswer, register } from './api.ts';
import { connectSocket } from './api-clients.ts';
import type { TestApp } from './app.ts';
import type { TestDatabase } from './database.ts';
import type { ServerProcess } from './server.ts';

const RETRY_MS = 50;
const OUTAGE_DEADLINE_MS = 60_000;

/** A server process as clients reach it, who ask again while nobody answers: it may be killed and started again meanwhile. */
export function serverApp(server: ServerProcess, database: TestDatabase): TestApp {
  const ask = async (body: string, token?: string): Promise<Response> => {
    const deadline = Date.now() + OUTAGE_DEADLINE_MS;
    for (;;) {
      try {
        return await fetch(server.url, {
          method: 'POST',
          headers: {
            'Content-Type': 'application/json',
            ...(token !== undefined && { Authorization: `Bearer ${token}` }),
          },
          body,
        });
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await sleep(RETRY_MS);
      }
    }
  };
  const app: TestApp = {
    url: server.url,
    port: server.port,
    database,
    runtimeDirectory: server.place.runtimeDirectory,
    execute: async (query, variables, { token } = {}) =>
      readAnswer(await ask(JSON.stringify({ query, variables }), token)),
    register: (name) => register(app.execute, name),
    connect: (token) => connectSocket(app, { authorization: `Bearer ${token}` }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
  return app;
}
