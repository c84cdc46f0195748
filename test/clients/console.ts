import type { Registered } from '../support/api.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { service, stack } from '../support/compose-stacks.ts';
import { type CuttableConnection, openCuttableConnection } from '../support/cut-connection.ts';
import { Deployer } from '../support/deployer.ts';
import { type Guide, unpackGuide } from './api-guide.ts';

/** Writes 400 lines in bursts, then waits to be stopped. */
export const COUNTING = stack(
  service(
    'web',
    'i=0; while [ $$i -lt 400 ]; do i=$$((i + 1)); echo line $$i; [ $$((i % 50)) = 0 ] && sleep 0.2; done; echo the end; exec sleep 1000',
  ),
);
export const LAST_LINE = 'the end';

/** A server with a user who deploys on it, as the client of the guide sees it: through a connection that can be cut. */
export type Console = AsyncDisposable & {
  app: TestApp;
  acme: Deployer;
  user: Registered;
  guide: Guide;
  connection: CuttableConnection;
  url: string;
  // biome-ignore lint/suspicious/noExplicitAny: it is as the guide has it.
  session: any;
};

export async function openConsole(...args: Parameters<typeof startApp>): Promise<Console> {
  await using opened = new AsyncDisposableStack();
  const app = opened.use(await startApp(...args));
  const guide = opened.use(await unpackGuide());
  const connection = opened.use(await openCuttableConnection(app.url));
  const user = await app.register();
  const acme = await Deployer.create(app, user, 'Acme');
  const { logIn } = await guide.load('session.js');
  const session = await logIn(connection.url, user.username, user.password);
  const stack = opened.move();
  const { url } = connection;
  return { app, acme, user, guide, connection, url, session, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}
