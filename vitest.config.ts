import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const node = { environment: 'node' as const, testTimeout: 90_000, hookTimeout: 120_000, pool: 'forks' as const };

/** They add fields to the schema: each in a process of its own. The other files of a worker share what they load, not what they change. */
const PROBED = 'test/api/*transport*.test.ts';

/** Not run with two servers: the second one could answer nothing else, or what they look at is one server's. */
const OF_ONE_SERVER = [
  ...[
    'bad-input',
    'bad-input-output',
    'executions-parked',
    'foreign-ids',
    'notification-mail-tls',
    'notification-senders',
  ],
  ...['published-schemas', 'selected-columns', 'workflow-examples', 'workflow-faults', 'workflow-time'],
].map((name) => `test/api/${name}.test.ts`);
const isWithTwo = Number(process.env.WINDFLOW_TEST_SERVERS ?? 1) > 1;

/** A file that takes minutes: begun last, it would run on alone when all others have ended. */
const LONGEST = 'test/crash/random-instants.test.ts';

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const [longest, others] = [true, false].map((isLongest) =>
      files.filter(({ moduleId }) => moduleId.endsWith(LONGEST) === isLongest),
    );
    return [...longest!, ...(await super.sort(others!))];
  }
}

// unit: beside its subject in src/. api: through the public schema. The long suites run from .ci/run, most of them one file at a time.
export default defineConfig({
  // Vite prefers a package's ES modules, Node its main file: two copies of graphql refuse each other.
  resolve: { alias: [{ find: /^graphql$/, replacement: 'graphql/index.js' }] },
  // Tests wait for processes and a database more than they compute.
  test: {
    maxWorkers: 4,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        test: { ...node, name: 'unit', isolate: false, include: ['src/**/*.test.ts', 'test/unit/**/*.test.ts'] },
      },
      {
        extends: true,
        test: {
          ...node,
          name: 'api',
          isolate: false,
          include: ['test/api/**/*.test.ts', 'test/runtimes/**/*.test.ts', 'test/db/**/*.test.ts'],
          exclude: [PROBED, ...(isWithTwo ? OF_ONE_SERVER : [])],
          globalSetup: ['test/support/database-server.ts'],
        },
      },
      {
        extends: true,
        test: { ...node, name: 'transport', include: [PROBED], globalSetup: ['test/support/database-server.ts'] },
      },
      {
        extends: true,
        test: {
          ...node,
          name: 'pressure',
          include: ['test/pressure/**/*.test.ts'],
          globalSetup: ['test/support/database-server.ts'],
        },
      },
      {
        extends: true,
        test: {
          ...node,
          name: 'clients',
          include: ['test/clients/**/*.test.ts'],
          globalSetup: ['test/support/database-server.ts'],
          testTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: {
          ...node,
          name: 'crash',
          include: ['test/crash/**/*.test.ts'],
          globalSetup: ['test/support/database-server.ts'],
          testTimeout: 600_000,
          // They wait for servers that start again more than they compute.
          maxWorkers: 2,
        },
      },
      {
        extends: true,
        test: {
          ...node,
          name: 'programs',
          include: ['test/programs/**/*.test.ts'],
          globalSetup: ['test/support/database-server.ts'],
          testTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        extends: true,
        test: {
          ...node,
          name: 'engine',
          include: ['test/engine/**/*.test.ts'],
          globalSetup: ['test/support/docker/engine.ts', 'test/support/database-server.ts'],
          testTimeout: 120_000,
          // They wait for containers more than they compute.
          maxWorkers: 2,
        },
      },
      {
        extends: true,
        test: {
          ...node,
          name: 'engine-long',
          include: ['test/engine-long/**/*.test.ts'],
          globalSetup: ['test/support/docker/engine.ts', 'test/support/database-server.ts'],
          testTimeout: 240_000,
          fileParallelism: false,
        },
      },
      {
        extends: true,
        test: {
          ...node,
          name: 'browser',
          include: ['test/browser/**/*.test.ts'],
          testTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
