/** A control plane of its own, to be killed: runs a PROCESS runtime in the directory it is given and does what each line of its input says. */
import { createInterface } from 'node:readline';
import { createProcessRuntime } from '../../src/runtimes/process/process-runtime.ts';
import type { InstanceSpec, StackRef } from '../../src/runtimes/runtime.ts';

const quiet = () => {};
const runtime = createProcessRuntime({
  directory: process.argv[2] ?? '',
  nodePath: process.execPath,
  log: { info: quiet, warn: quiet, error: quiet },
});

for await (const line of createInterface({ input: process.stdin })) {
  const { stack, spec }: { stack: StackRef; spec: InstanceSpec } = JSON.parse(line);
  console.log(JSON.stringify(await runtime.start(stack, spec, 1)));
}
