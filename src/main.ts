import { enableCompileCache } from 'node:module';

enableCompileCache();

const STOP_LIMIT_MS = 4_500;

const { ConfigError, isLoopback, loadConfig } = await import('./config.ts');
const { createLogger } = await import('./shared/logger.ts');
const { DataDirectoryInUseError, openDatabase } = await import('./db/open-database.ts');
const { EmbeddedServerError } = await import('./db/embedded-server.ts');
const { isOutage } = await import('./db/outage.ts');
const { MigrationError } = await import('./db/migrations.ts');
const { WrongSecretKeyError } = await import('./db/secret-key.ts');
const EXPLAINED = [ConfigError, DataDirectoryInUseError, EmbeddedServerError, MigrationError, WrongSecretKeyError];

let isStopping = false;
const app = start();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  // Ctrl-C may come twice: from the terminal, and from npm.
  process.on(signal, () => {
    if (!isStopping) void stop();
    isStopping = true;
  });
}

async function start() {
  try {
    const config = loadConfig();
    const log = createLogger(config.logLevel);
    // The database starts in a process of its own while this one still loads its code.
    const opening = openDatabase(config, log);
    opening.catch(() => undefined);
    const { createApp } = await import('./app.ts');
    const running = await createApp(config, log, opening);
    const lines = [`WindFlow is ready: open ${running.url}/graphql`];
    if (running.setupToken) lines.push(`The first user registers with setupToken ${running.setupToken}`);
    if (config.processRuntime && process.getuid?.() !== 0)
      lines.push("Services run with this server's own rights: it was not started as root");
    if (running.isHostTaken)
      lines.push(
        `Another server works for this host (${config.runtimeDirectory}); if it has another database, give this one its own WINDFLOW_RUNTIME_DIR`,
      );
    if (!isLoopback(config.host)) lines.push('It listens beyond this machine: put TLS in front of it');
    console.log(lines.join('. '));
    return running;
  } catch (error) {
    console.error('WindFlow did not start:', explain(error));
    process.exit(1);
  }
}

/** What the operator can mend, in words; anything else whole, with its stack. */
function explain(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { code, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  if (code === 'EADDRINUSE') return `${address}:${port} is in use by another program: set PORT to a free one`;
  if (EXPLAINED.some((known) => error instanceof known)) return error.message;
  if (isOutage(error)) return `the database cannot be reached: look at DATABASE_URL (${error.message || code})`;
  return error;
}

async function stop(): Promise<void> {
  // A stop that hangs is ended: services and database survive that too.
  const limit = setTimeout(() => process.exit(1), STOP_LIMIT_MS);
  const running = await app;
  await running[Symbol.asyncDispose]();
  clearTimeout(limit);
  process.exit(0);
}
