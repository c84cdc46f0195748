import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const FOLDER = join(dirname(fileURLToPath(import.meta.url)), 'peers');

/** A program of bench/peers that serves, in a process of its own: there is one copy of graphql in each. */
export type Peer = AsyncDisposable & { origin: string /** From the command to its ready line. */; startMs: number };

/** Starts bench/peers/NAME.mjs; resolves when it has printed "ready ORIGIN". */
export async function startPeer(name: string, databaseUrl: string): Promise<Peer> {
  const begun = performance.now();
  const child = spawn(process.execPath, [join(FOLDER, `${name}.mjs`)], {
    env: { ...process.env, NODE_ENV: 'production', GRAPHILE_ENV: 'production', DATABASE_URL: databaseUrl },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const origin = /^ready (\S+)$/.exec(line)?.[1];
    if (!origin) continue;
    const startMs = performance.now() - begun;
    child.stdout.resume();
    return {
      origin,
      startMs,
      async [Symbol.asyncDispose]() {
        if (child.exitCode !== null || child.signalCode !== null) return;
        child.kill();
        await once(child, 'exit');
      },
    };
  }
  throw new Error(`the peer ${name} did not start`);
}

/** CPU time that a server has used so far, user and system, all threads: it tells by itself, under /metrics. */
export async function cpuSeconds(origin: string): Promise<number> {
  const text = await (await fetch(`${origin}/metrics`)).text();
  const value = /^process_cpu_seconds_total (\S+)$/m.exec(text)?.[1];
  if (!value) throw new Error(`${origin} does not tell its CPU time`);
  return Number(value);
}
