import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startApp } from '../support/app.ts';
import { service, stack } from '../support/compose-stacks.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { fillDisk } from '../support/fill-disk.ts';

const DISK = 'size=2m,mode=0700';

const mount = (directory: string) => spawnSync('mount', ['-t', 'tmpfs', '-o', DISK, 'tmpfs', directory]).status === 0;

it.runIf(canMount())('should survive a full disk while services log, and show exactly what is missing', async () => {
  const place = mkdtempSync('/tmp/wff-');
  chmodSync(place, 0o711);
  const disk = join(place, 's');
  mkdirSync(disk);
  expect(mount(disk)).toBe(true);
  try {
    await using app = await startApp({ runtimeDirectory: place });
    const acme = await Deployer.create(app, null, 'Acme');
    const script =
      'i=0; while [ ! -e data/stop ]; do i=$$((i + 1)); echo line $$i; sleep 0.002; done; echo total $$i; exec sleep 1000';
    const { stackId, ...live } = await acme.deployNew(stack(service('web', script, 'volumes: ["data:/data"]')));
    expect(live.status).toBe('RUNNING');
    const filler = join(disk, 'filler');
    let stood = { sequence: 0, since: Date.now() };
    await eventually('the log stands still', async () => {
      // What the spool gives back while it is read is taken at once.
      fillDisk(filler);
      const { deployment } = await acme.ask(
        'query ($id: ID!) { deployment(id: $id) { logs(last: 1) { nodes { sequence } } } }',
        { id: live.id },
      );
      const { sequence } = deployment.logs.nodes[0];
      if (sequence !== stood.sequence) stood = { sequence, since: Date.now() };
      return Date.now() - stood.since > 1_000;
    });
    expect(await acme.read(live.id)).toMatchObject({ status: 'RUNNING' });
    const refused = await acme.deployNew(stack(service('other', 'exec sleep 1000')));
    expect(refused).toMatchObject({ status: 'FAILED', statusReason: expect.stringContaining('no space left') });

    rmSync(filler);
    await eventually('the log goes on behind a gap', async () => {
      const [gap] = await acme.log(live.id, { search: 'dropped' });
      return (
        gap && (await acme.log(live.id)).some(({ sequence, stream }) => sequence > gap.sequence && stream === 'STDOUT')
      );
    });
    const shared = 'volumes: ["data:/data"]';
    await acme.changeStack(stackId, stack(service('web', script, shared), service('end', 'touch data/stop', shared)));
    const next = await acme.deploy(stackId);
    expect(next.status).toBe('RUNNING');
    const both = async () => (await Promise.all([acme.log(live.id), acme.log(next.id)])).flat();
    const total = await eventually('the number of all lines', async () => {
      const found = (await both()).find(({ message }) => message.startsWith('total '));
      return found && Number(found.message.slice('total '.length));
    });
    await acme.stop(next.id);
    const lines = await both();
    const numbers = lines.flatMap(({ message }) => /^line (\d+)$/.exec(message)?.[1] ?? []).map(Number);
    const dropped = lines.flatMap(
      ({ message }) => /^([\d,]+) lines? dropped: the disk was full/.exec(message)?.[1] ?? [],
    );
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    expect(new Set(numbers).size).toBe(numbers.length);
    const missing = dropped.reduce((sum, count) => sum + Number(count.replaceAll(',', '')), 0);
    expect(missing).toBeGreaterThan(0);
    expect(numbers.length + missing).toBe(total);
    const mended = await acme.deployNew(stack(service('other', 'exec sleep 1000')));
    expect(mended.status).toBe('RUNNING');
  } finally {
    spawnSync('umount', ['-l', disk]);
    rmSync(place, { recursive: true, force: true });
  }
});

/** Only root may, and not in every container. */
function canMount(): boolean {
  const directory = mkdtempSync('/tmp/wff-mount-');
  const mounted = mount(directory);
  if (mounted) spawnSync('umount', [directory]);
  rmSync(directory, { recursive: true, force: true });
  return mounted;
}
