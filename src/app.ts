import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { Client } from 'pg';
import { type Config, isLoopback } from './config.ts';
import { createServices } from './create-services.ts';
import { connectDatabase, type Database } from './db/client.ts';
import { migrate } from './db/migrations.ts';
import { type OpenDatabase, openDatabase } from './db/open-database.ts';
import { requireSameKey } from './db/secret-key.ts';
import { migrateEngine } from './engine/durable.ts';
import { type Machine, readMachine, registerHost } from './engine/host.ts';
import { startMaintenance } from './engine/maintenance.ts';
import type { Services } from './graphql/context.ts';
import { schema } from './graphql/schema.ts';
import { agentConfigurationSchema } from './modules/agents/configuration.ts';
import type { EngineDriver } from './modules/deployments/container-engines.ts';
import { createHostEngine, type HostEngine } from './modules/deployments/host-engine.ts';
import type { ReleaseStore } from './modules/deployments/release-store.ts';
import { removeEndedExecutions } from './modules/executions/retention.ts';
import { ExecutionWorker } from './modules/executions/worker.ts';
import { pruneIdempotencyKeys } from './modules/idempotency.ts';
import { LOG_REMOVAL_TOPIC, removeDeletedLogs, removeExpiredLines } from './modules/log-removal.ts';
import { NotificationWorker } from './modules/notifications/worker.ts';
import { RightsWatch } from './modules/organizations/rights-watch.ts';
import type { ServiceDependencies } from './modules/services.ts';
import { workflowSchema } from './modules/workflows/definition.ts';
import { TriggerWorker } from './modules/workflows/trigger-worker.ts';
import type { Bus } from './realtime/bus.ts';
import { createEventTails } from './realtime/event-follower.ts';
import { SUMMARY_INTERVAL_MS, summarizeLogs } from './realtime/log-blocks.ts';
import { dropPartitionsBefore, ensurePartitions, PARTITION_DAYS_AHEAD } from './realtime/log-partitions.ts';
import { createPostgresBus } from './realtime/postgres-bus.ts';
import type { DockerConnection } from './runtimes/docker/connection.ts';
import { createProcessRuntime } from './runtimes/process/process-runtime.ts';
import type { Runtime } from './runtimes/runtime.ts';
import type { PartState } from './server/health.ts';
import { createHttpServer, type HttpServer } from './server/http-server.ts';
import { publishSchemas } from './server/published-schemas.ts';
import { DAY_MS, delay, systemClock } from './shared/clock.ts';
import { createKeyring } from './shared/crypto.ts';
import { newId } from './shared/ids.ts';
import { createLogger, type Logger } from './shared/logger.ts';

export type App = AsyncDisposable & {
  url: string;
  /** What the first user needs to register, where one is needed. */
  setupToken: string | null;
  /** Whether another server process carries out what is deployed to this host. */
  isHostTaken: boolean;
};

const VERSION = (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string })
  .version;

/**
 * Starts everything, in the order in which it depends on each other, and stops it in the reverse one. `opening`: a database that is
 * being opened already.
 */
export async function createApp(
  config: Config,
  log: Logger = createLogger(config.logLevel),
  opening: Promise<OpenDatabase> = openDatabase(config, log),
): Promise<App> {
  await using started = new AsyncDisposableStack();
  const { connection } = started.use(await opening);
  await migrate(connection, log, () => migrateEngine(connection, log));
  const bus = started.use(await createBus(config, connection, log));
  const database = started.adopt(connectDatabase(connection, log, bus.announce), (it) => it.close());
  const { prisma, pool } = database;
  const keyring = createKeyring(config.secretKey);
  await requireSameKey(pool, keyring);
  await bus.start();
  const rights = started.use(new RightsWatch({ pool, bus, log }));
  const eventTails = createEventTails(pool, bus);
  const dependencies: ServiceDependencies = { prisma, pool, bus, keyring, clock: systemClock, log, rights, eventTails };

  const machine = await readMachine();
  const host = await createHost(config, pool, machine, log, started);
  let engine: HostEngine | null = null;
  const runtimeOf = (hostId: string) => engine?.runtimeOf(hostId) ?? null;
  const { services, releases } = createServices(dependencies, {
    ...config,
    identity: { registration: config.registration, requiresSetupToken: !isLoopback(config.host) },
    hostForProcess: async () => (host.runtime ? host.id : null),
    runtimeOf,
    models: { ...config.llm, defaultModel: config.llm.model },
  });
  started.use(
    startMaintenance({
      clock: systemClock,
      log,
      tasks: {
        partitions: (now, signal) =>
          onConnection(connection, (client) => keepPartitions(client, config.logRetentionDays, now, signal)),
        identity: () => services.identity.prune(),
        plans: (now) => services.deployments.prunePlans(now),
        events: (now, signal) => services.events.prune(now, signal),
        executions: (now, signal) =>
          removeEndedExecutions(pool, new Date(now.getTime() - config.executionRetentionDays * DAY_MS), signal),
        notifications: (now, signal) => services.notifications.prune(now, signal),
        idempotency: () => pruneIdempotencyKeys(pool),
        webhooks: (now) => services.workflows.pruneRequests(now),
        logRetention: (now, signal) => removeExpiredLines(pool, now, { signal }),
      },
    }),
  );
  const removals = started.use(bus.watch([LOG_REMOVAL_TOPIC]));
  started.use(
    startMaintenance({
      clock: systemClock,
      log,
      tasks: { deletedLogs: (_now, signal) => removeDeletedLogs(pool, { signal }) },
      pause: (ms, signal) => removals.wait(ms, signal),
    }),
  );
  started.use(
    startMaintenance({
      clock: systemClock,
      log,
      tasks: {
        logBlocks: (_now, signal) => onConnection(connection, (client) => summarizeLogs(client, signal)),
      },
      pause: (_ms, signal) => delay(SUMMARY_INTERVAL_MS, signal),
    }),
  );
  const working = createEngine(config, dependencies, { connection, host, machine, services, releases });
  engine = working;
  started.defer(() => working.close());
  const listening = listen(config, database, services, working, bus, log).then((it) => started.use(it));
  const [server] = await Promise.all([listening, working.start()]);

  const stack = started.move();
  return {
    url: config.port === 0 || config.publicUrl.endsWith(':0') ? server.url : config.publicUrl,
    setupToken: await services.identity.ensureSetupToken(),
    isHostTaken: !working.isHolder,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function createBus({ redisUrl }: Config, connection: Database['connection'], log: Logger): Promise<Bus> {
  if (redisUrl === null) return createPostgresBus(connection, log);
  const { createRedisBus } = await import('./realtime/redis-bus.ts');
  return createRedisBus(redisUrl, log);
}

async function keepPartitions(client: Client, retentionDays: number, now: Date, signal: AbortSignal): Promise<void> {
  await ensurePartitions(client, now, PARTITION_DAYS_AHEAD, signal);
  await dropPartitionsBefore(client, new Date(now.getTime() - retentionDays * DAY_MS), signal);
}

/** For what needs one connection for a while: transactions, and locks that its end lets go. */
async function onConnection(connection: Database['connection'], work: (client: Client) => Promise<unknown>) {
  const client = new Client(connection);
  // A lost connection fails the query too; without a listener it would end the process.
  client.on('error', () => undefined);
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

/** `runtime` null: nothing runs processes there, and the server works for container engines alone. */
type Host = { id: string; runtime: Runtime | null };

/** This machine and its runtime directory, with what runs processes there. */
async function createHost(
  { runtimeDirectory, processRuntime }: Config,
  pool: Database['pool'],
  machine: Machine,
  log: Logger,
  started: AsyncDisposableStack,
): Promise<Host> {
  const id = await registerHost(pool, machine, runtimeDirectory);
  if (!processRuntime) return { id, runtime: null };
  await mkdir(runtimeDirectory, { recursive: true, mode: process.getuid?.() === 0 ? 0o711 : 0o700 });
  const runtime = started.use(createProcessRuntime({ directory: runtimeDirectory, nodePath: process.execPath, log }));
  return { id, runtime };
}

type EngineParts = {
  connection: Database['connection'];
  host: Host;
  machine: Machine;
  services: Services;
  releases: ReleaseStore;
};

function createEngine(
  { runtimeDirectory, logLinesPerSecond, ingressImage }: Config,
  { prisma, pool, bus, log, keyring }: ServiceDependencies,
  { connection, host, machine, services, releases }: EngineParts,
): HostEngine {
  return createHostEngine({
    pool,
    bus,
    keyring,
    runtime: host.runtime,
    loadDriver: () => loadDocker(ingressImage, log),
    releases,
    environments: services.environments,
    revert: services.deployments.revert,
    beside: (held) => [
      new ExecutionWorker({ pool, bus, log, procedureOf: services.executions.procedureOf }, held),
      new NotificationWorker({ pool, bus, log, deliver: services.notifications.deliver }, held),
      new TriggerWorker({ prisma, log }),
    ],
    log,
    logLinesPerSecond,
    connection,
    hostId: host.id,
    instanceId: newId(),
    bootId: machine.bootId,
    runtimeDirectory,
  });
}

async function loadDocker(ingressImage: string, log: Logger): Promise<EngineDriver> {
  const { createDockerRuntime } = await import('./runtimes/docker/docker-runtime.ts');
  const { engineIdentity } = await import('./runtimes/docker/connection.ts');
  return {
    open: (connection) => createDockerRuntime({ connection: connection as DockerConnection, ingressImage, log }),
    identify: (connection) => engineIdentity(connection as DockerConnection),
  };
}

/** Without Redis a server still serves; without its connection to PostgreSQL it does not. */
function wakeUpsState({ redisUrl }: Config, bus: Bus): PartState {
  if (bus.isConnected) return { ok: true, detail: redisUrl === null ? 'PostgreSQL' : 'Redis' };
  if (redisUrl === null) return { ok: false, detail: 'reconnecting' };
  return {
    ok: true,
    degraded: true,
    detail: 'Redis cannot be reached: what other servers do is seen seconds later; reconnecting',
  };
}

function listen(
  config: Config,
  { prisma, pool }: Database,
  services: Services,
  engine: HostEngine,
  bus: Bus,
  log: Logger,
): Promise<HttpServer> {
  const checks = async (): Promise<Record<string, PartState>> => {
    const reached = await pool.query('select 1').then(
      () => true,
      () => false,
    );
    const holder = engine.isHolder ? 'this server works for its host' : 'another server works for this host';
    return {
      database: reached ? { ok: true } : { ok: false, detail: 'cannot be reached' },
      wakeUps: wakeUpsState(config, bus),
      processRuntime: { ok: true, detail: config.processRuntime ? holder : 'off' },
    };
  };
  const { host, port, publicUrl, allowedHosts, corsOrigins } = config;
  return createHttpServer({
    prisma,
    services,
    schema,
    host,
    port,
    publicUrl,
    allowedHosts,
    corsOrigins,
    log,
    checks,
    version: VERSION,
    schemas: publishSchemas(publicUrl, {
      '/schemas/workflow.json': workflowSchema(),
      '/schemas/agent-configuration.json': agentConfigurationSchema(),
    }),
  });
}
