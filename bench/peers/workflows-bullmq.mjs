// Three requests as the jobs of a flow of BullMQ, each the child of the next. For each line "run N" it runs N, and prints the milliseconds.
import { createInterface } from 'node:readline';
import { FlowProducer, Worker } from 'bullmq';

const { REDIS_SOCKET, STEP_URL } = process.env;
const queueName = 'steps';
const connection = { path: REDIS_SOCKET, maxRetriesPerRequest: null };
/** The fastest of 20, 50, 100, 200 and 1,000, where each answer waits for the disk. */
const concurrency = 200;

let left = 0;
let end = () => {};
const flows = new FlowProducer({ connection });
const worker = new Worker(
  queueName,
  async () => {
    const response = await fetch(STEP_URL, { method: 'POST', body: '{}' });
    return { status: response.status, body: await response.json() };
  },
  { connection, concurrency },
);
worker.on('completed', ({ name }) => {
  if (name === 'three' && --left === 0) end();
});
worker.on('failed', (_, error) => {
  console.error(error);
  process.exit(1);
});
await worker.waitUntilReady();
const lines = createInterface({ input: process.stdin });
// At once: closing would wait for a Redis that has gone.
lines.once('close', () => process.exit(0));
console.log('ready');
for await (const line of lines) {
  left = Number(line.split(' ')[1]);
  const begun = performance.now();
  const ended = new Promise((resolve) => {
    end = resolve;
  });
  await Promise.all(Array.from({ length: left }, addFlow));
  await ended;
  console.log(performance.now() - begun);
}

/** A child is done before its parent. */
function addFlow() {
  const one = { name: 'one', queueName };
  const two = { name: 'two', queueName, children: [one] };
  return flows.add({ name: 'three', queueName, children: [two] });
}
