import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { addBystander, type Bystander } from '../support/bystander.ts';
import { service, stack } from '../support/compose-stacks.ts';
import { Deployer, type LogView } from '../support/deployer.ts';

const MIB = 1024 * 1024;
const MAX_LINE_BYTES = 16 * 1024;

let app: TestApp;
let acme: Deployer;
let bystander: Bystander;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
  bystander = await addBystander(acme);
});
afterAll(() => app[Symbol.asyncDispose]());

/** What a job writes on its standard output, with the lines around it. */
const written = async (script: string): Promise<{ lines: LogView[]; all: LogView[] }> => {
  const done = await acme.deployNew(stack(service('job', script)));
  expect(done).toMatchObject({ status: 'RUNNING', services: [{ state: 'EXITED', replicas: [{ exitCode: 0 }] }] });
  await acme.stop(done.id);
  const all = await acme.log(done.id);
  expect(all.map(({ sequence }) => sequence)).toEqual(all.map((_, index) => index + 1));
  return { lines: all.filter(({ stream }) => stream === 'STDOUT'), all };
};

describe('output', () => {
  it('should be stored whole when 10,000 lines come at once', async () => {
    const { lines } = await written('seq 1 10000');
    expect(lines.map(({ message }) => Number(message))).toEqual(
      Array.from({ length: 10_000 }, (_, index) => index + 1),
    );
  });

  it('should be cut into pieces that say they go on when a line has 1 MiB', async () => {
    const { lines } = await written(`head -c ${MIB} /dev/zero | tr '\\\\0' x; echo; echo after`);
    const last = lines.pop()!;
    expect(last).toMatchObject({ message: 'after', isPartial: false });
    expect(lines.map(({ message }) => message).join('')).toBe('x'.repeat(MIB));
    expect(lines.every(({ message }) => Buffer.byteLength(message) <= MAX_LINE_BYTES)).toBe(true);
    expect(lines.map(({ isPartial }) => isPartial)).toEqual(lines.map((_, index) => index < lines.length - 1));
  });

  it('should be text, whatever bytes there are', async () => {
    const { lines } = await written(
      `printf 'a\\\\000b\\\\377c\\\\303\\\\n\\\\303\\\\274\\\\r\\\\n\\\\033[31mred\\\\033[0m\\\\n'; head -c 65536 /dev/urandom`,
    );
    const messages = lines.map(({ message }) => message);
    expect(messages.slice(0, 2)).toEqual(['a\uFFFDb\uFFFDc\uFFFD', 'ü']);
    expect(messages[2]).toContain('red');
    expect(messages.length).toBeGreaterThan(100);
    for (const message of messages) expect(message.isWellFormed() && !message.includes('\0')).toBe(true);
  });
});

it('should all have left another tenant as it was', () => bystander.expectUntouched());
