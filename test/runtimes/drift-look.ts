/**
 * A control plane with few files to open: looks for drift of the specs that its input names, and prints what it found. With `--exhausted` it
 * has none left when it looks.
 */
import fs from 'node:fs';
import { json } from 'node:stream/consumers';
import { createProcessRuntime } from '../../src/runtimes/process/process-runtime.ts';
import type { InstanceSpec, StackRef } from '../../src/runtimes/runtime.ts';

const [directory = '', mode] = process.argv.slice(2);
const quiet = () => {};
const log = { info: quiet, warn: quiet, error: quiet };
const runtime = createProcessRuntime({ directory, nodePath: process.execPath, log });
const { stack, specs } = (await json(process.stdin)) as { stack: StackRef; specs: InstanceSpec[] };
const held: number[] = [];

function exhaust(): void {
  try {
    for (;;) held.push(fs.openSync('/dev/null', 'r'));
  } catch {}
}

if (mode === '--exhausted') exhaust();
const answer = await runtime.drift(stack, specs).then(
  (found) => ({ found: [...found.values()] }),
  ({ name, message }: Error) => ({ name, message }),
);
for (const fd of held) fs.closeSync(fd);
console.log(JSON.stringify(answer));
