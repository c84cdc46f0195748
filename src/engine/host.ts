import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import type { Pool } from 'pg';
import { newId } from '../shared/ids.ts';

/** What tells this machine, and this run of it, from others. */
export type Machine = { machineId: string; bootId: string; name: string };

/** Linux: systemd's machine id, and the kernel's boot id; elsewhere the host name stands for both. */
export async function readMachine(): Promise<Machine> {
  const read = async (path: string) => (await readFile(path, 'utf8').catch(() => '')).trim();
  const machineId = (await read('/etc/machine-id')) || (await read('/var/lib/dbus/machine-id')) || hostname();
  return { machineId, bootId: (await read('/proc/sys/kernel/random/boot_id')) || machineId, name: hostname() };
}

/** The `hosts` row of this machine and runtime directory, made when it is new. Its id never changes. */
export async function registerHost(pool: Pool, machine: Machine, runtimeDirectory: string): Promise<string> {
  const { rows } = await pool.query<{ id: string }>(
    `insert into hosts (id, machine_id, runtime_directory, name) values ($1, $2, $3, $4)
     on conflict (machine_id, runtime_directory) do update set name = excluded.name returning id`,
    [newId(), machine.machineId, runtimeDirectory, machine.name],
  );
  return rows[0]!.id;
}
