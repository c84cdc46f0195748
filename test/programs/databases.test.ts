import { afterAll, beforeAll, expect, it } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer, instancesOf, serviceOf } from '../support/deployer.ts';
import { requirePrograms } from '../support/installed-programs.ts';

let app: TestApp;
let acme: Deployer;
beforeAll(async () => {
  requirePrograms({
    '/usr/bin/redis-server': 'redis-server',
    '/usr/bin/redis-cli': 'redis-tools',
    '/usr/lib/postgresql/*/bin/initdb': 'postgresql',
    '/usr/bin/psql': 'postgresql-client',
  });
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
});
afterAll(() => app?.[Symbol.asyncDispose]());

it('should run Redis with a client that waits for its health, and keep its data over deployments', async () => {
  const compose = (word: string) => `
services:
  cache:
    command: ["sh", "-c", "exec redis-server --bind 127.0.0.1 --port $$PORT --dir $$WINDFLOW_ROOT/data --appendonly yes"]
    volumes: ["cache:/data"]
    healthcheck: { test: ["CMD-SHELL", "redis-cli -p $$PORT ping | grep -q PONG"], interval: 500ms, start_interval: 100ms, start_period: 20s }
  client:
    command: ["sh", "-c", "redis-cli -h $$CACHE_HOST -p $$CACHE_PORT rpush words ${word} && redis-cli -h $$CACHE_HOST -p $$CACHE_PORT lrange words 0 -1"]
    depends_on: { cache: { condition: service_healthy } }
volumes: { cache: {} }
`;
  const { stackId, ...live } = await acme.deployNew(compose('one'));
  expect(live).toMatchObject({ status: 'RUNNING', statusReason: null });
  expect(serviceOf(live, 'cache').state).toBe('HEALTHY');
  expect((await acme.output(live.id)).filter((line) => line.startsWith('client'))).toEqual([
    'client: 1',
    'client: one',
  ]);
  await acme.changeStack(stackId, compose('two'));
  const next = await acme.deploy(stackId);
  expect(instancesOf(next).cache).toBe(instancesOf(live).cache);
  const output = (await acme.output(next.id)).filter((line) => line.startsWith('client'));
  expect(output).toEqual(['client: 2', 'client: one', 'client: two']);
  await acme.stop(next.id);
  const after = await acme.deploy(stackId);
  expect((await acme.output(after.id)).filter((line) => line.startsWith('client')).slice(-3)).toEqual([
    'client: one',
    'client: two',
    'client: two',
  ]);
  await acme.stop(after.id);
});

it('should run PostgreSQL under the environment’s own user, with a migration and a client behind its health', async () => {
  await acme.setVariable('DB_PASSWORD', 'correct horse battery', true);
  const compose = `
services:
  db:
    command: ["sh", "start.sh"]
    configs: [{ source: start, target: start.sh }]
    secrets: [password]
    volumes: ["pgdata:/data"]
    stop_signal: SIGINT
    healthcheck: { test: ["CMD-SHELL", "pg_isready -h 127.0.0.1 -p $$PORT -U app"], interval: 500ms, start_interval: 200ms, start_period: 60s }
  migrate:
    command: ["sh", "-c", "psql -c 'create table if not exists visits (at timestamptz default now())'"]
    environment: &client { PGUSER: app, PGDATABASE: postgres, PGPASSWORD: "\${DB_PASSWORD}" }
    entrypoint: ["sh", "-c", "export PGHOST=$$DB_HOST PGPORT=$$DB_PORT; exec \\"$$@\\"", "--"]
    depends_on: { db: { condition: service_healthy } }
  web:
    command: ["sh", "-c", "psql -Atc 'insert into visits default values' -c 'select count(*) || chr(32) || current_user from visits'; exec sleep 1000"]
    environment: *client
    entrypoint: ["sh", "-c", "export PGHOST=$$DB_HOST PGPORT=$$DB_PORT; exec \\"$$@\\"", "--"]
    depends_on: { migrate: { condition: service_completed_successfully } }
volumes: { pgdata: {} }
secrets: { password: { content: "\${DB_PASSWORD}" } }
configs:
  start:
    content: |
      set -e
      bin=$$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
      [ -s data/PG_VERSION ] || "$$bin/initdb" -D data -U app -A scram-sha-256 --pwfile=run/secrets/password -E UTF8 --locale=C.UTF-8
      exec "$$bin/postgres" -D data -c listen_addresses=127.0.0.1 -c port=$$PORT -c unix_socket_directories= -c fsync=off
`;
  const { stackId, ...live } = await acme.deployNew(compose, { healthTimeoutSeconds: 60 });
  expect(live).toMatchObject({ status: 'RUNNING', statusReason: null });
  expect(live.services.map(({ name, state }) => `${name} ${state}`)).toEqual([
    'db HEALTHY',
    'migrate EXITED',
    'web RUNNING',
  ]);
  expect(await acme.untilLogged(live.id, '1 app')).toMatchObject({ service: 'web', stream: 'STDOUT' });
  expect((await acme.output(live.id)).join('\n')).not.toContain('battery');
  await acme.stop(live.id);
  const lines = (await acme.log(live.id, { services: ['db'] })).map(({ message }) => message);
  expect(lines.some((line) => line.includes('database system is shut down'))).toBe(true);
  const again = await acme.deploy(stackId, { healthTimeoutSeconds: 60 });
  expect(await acme.untilLogged(again.id, '2 app')).toMatchObject({ service: 'web' });
  await acme.stop(again.id);
});
