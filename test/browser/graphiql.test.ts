import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, onTestFailed } from 'vitest';
import { type DemoServer, startServer } from '../../examples/demo/demo-server.ts';
import { type BrowserPage, GraphiQL, openBrowser } from '../support/browser.ts';
import { eventually } from '../support/eventually.ts';
import { readmeOperations } from '../support/readme.ts';

const LIMIT_MS = 240_000;
const MARKERS = /PASTE-THE-([A-Z]+)-ID/g;

let server: DemoServer;
let browser: BrowserPage;

beforeAll(async () => {
  server = await startServer(process.env);
  browser = await openBrowser(server.url);
}, LIMIT_MS);

afterAll(async () => {
  await browser?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

it(
  'should lead a newcomer from nothing to live log lines, with only the README',
  async () => {
    const { page, requests, complaints } = browser;
    const ids: Record<string, string> = {};
    const step = (field: string) => {
      const operation = readmeOperations().find((text) => text.includes(`${field}(`))!;
      return operation.replaceAll(MARKERS, (_, name: string) => ids[name]!);
    };
    onTestFailed(async () => void (await page.screenshot({ path: join(tmpdir(), 'windflow-graphiql.png') })));
    const graphiql = await GraphiQL.open(page, `${server.url}/graphql`);

    const registered = await graphiql.run(step('authRegister'));
    expect(registered.data.authRegister.user).toEqual({ username: 'ada' });
    await graphiql.setHeaders({ Authorization: `Bearer ${registered.data.authRegister.accessToken}` });

    const create = async (name: string, field: string) => {
      await graphiql.start(step(field));
      const { data } = await eventually(`the result of ${field}`, async () => {
        const result = await graphiql.read();
        return result?.data && field in result.data ? result : null;
      });
      ids[name] = data[field].id;
      expect(ids[name], JSON.stringify(data)).toBeTypeOf('string');
    };
    await create('ORGANIZATION', 'organizationCreate');
    await create('ENVIRONMENT', 'environmentCreate');
    await create('STACK', 'stackCreate');
    await create('DEPLOYMENT', 'deploymentCreate');

    await graphiql.start(step('deploymentLogs'));
    const greetings = new Set<string>();
    await eventually('greetings in the result pane, one after the other', async () => {
      for (const [greeting] of (await graphiql.look()).matchAll(/Hello, visitor \d+/g)) greetings.add(greeting);
      return greetings.size >= 3;
    });
    await graphiql.stop();

    await graphiql.start(step('deploymentStatus'));
    await eventually('a running deployment with a port', async () => {
      const status = (await graphiql.read())?.data?.deploymentStatus;
      return status?.status === 'RUNNING' && status.services[0].replicas[0].ports[0].published > 0;
    });
    await graphiql.stop();

    await graphiql.start(step('deploymentStop'));
    await eventually('the stop', async () => (await graphiql.read())?.data?.deploymentStop?.status);
    await graphiql.start(step('deploymentStatus'));
    await eventually(
      'a stopped deployment',
      async () => (await graphiql.read())?.data?.deploymentStatus?.status === 'STOPPED',
    );

    const foreign = requests.filter(
      (url) => !/^(blob:|data:)/.test(url) && new URL(url).host !== new URL(server.url).host,
    );
    expect(foreign).toEqual([]);
    expect(requests.some((url) => url.startsWith('ws://'))).toBe(true);
    expect(complaints).toEqual([]);
  },
  LIMIT_MS,
);
