import { createInterface } from 'node:readline';
import { DBOS } from '@dbos-inc/dbos-sdk';

/** The peer: three requests as the steps of a workflow of DBOS itself, nothing around it. For each line "run N" it runs N, and prints the milliseconds. */
const { DATABASE_URL, STEP_URL } = process.env;

const workflow = DBOS.registerWorkflow(
  async () => {
    for (const step of ['one', 'two', 'three'])
      await DBOS.runStep(
        async () => {
          const response = await fetch(STEP_URL!, { method: 'POST', body: '{}' });
          return { status: response.status, body: await response.json() };
        },
        { name: step },
      );
  },
  { name: 'three-steps' },
);
DBOS.setConfig({
  name: 'bench',
  systemDatabaseUrl: DATABASE_URL,
  systemDatabaseSchemaName: 'bare',
  systemDatabasePoolSize: 20,
  logLevel: 'error',
});
await DBOS.launch();
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const count = Number(line.split(' ')[1]);
  const begun = performance.now();
  const handles = await Promise.all(Array.from({ length: count }, () => DBOS.startWorkflow(workflow)()));
  await Promise.all(handles.map((handle) => handle.getResult()));
  console.log(performance.now() - begun);
}
await DBOS.shutdown();
