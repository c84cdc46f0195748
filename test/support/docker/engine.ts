import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import Docker from 'dockerode';
import type { TestProject } from 'vitest/node';

const SOCKET = '/var/run/docker.sock';
/** Its data stay between runs; what ends it is the end of the run that started it. */
const OWN_ENGINE = 'tests';
const IMAGE = 'busybox:local';
const program = path.join(import.meta.dirname, 'docker-engine');
const run = promisify(execFile);

declare module 'vitest' {
  interface ProvidedContext {
    /** "unix:///path"; null: there is none, and the tests that need one are left out. */
    dockerEngine: string | null;
  }
}

/** A Docker engine for a whole run: that of DOCKER_HOST, the machine's own, or one that is started for it, which needs root. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const found = await findEngine();
  project.provide('dockerEngine', found?.endpoint ?? null);
  return found?.release ?? (async () => {});
}

async function findEngine(): Promise<{ endpoint: string; release(): Promise<void> } | null> {
  const foreign = process.env.DOCKER_HOST ?? (existsSync(SOCKET) ? `unix://${SOCKET}` : null);
  if (foreign?.startsWith('unix://')) {
    const isImported = await importImage(foreign).catch((error: Error) => error);
    if (!(isImported instanceof Error)) {
      const release = async () => void (isImported && (await clientOf(foreign).getImage(IMAGE).remove()));
      return { endpoint: foreign, release };
    }
    if (process.env.DOCKER_HOST) throw isImported;
  }
  if (process.geteuid?.() !== 0) {
    console.warn('the tests on a Docker engine are left out: none answers here, and only root can start one');
    return null;
  }
  try {
    const { stdout } = await run('bash', [program, 'up', OWN_ENGINE]);
    const release = async () => void (await run('bash', [program, 'down', OWN_ENGINE]));
    return { endpoint: stdout.trim().replace('DOCKER_HOST=', ''), release };
  } catch (error) {
    console.warn(`the tests on a Docker engine are left out: none could be started: ${(error as Error).message}`);
    return null;
  }
}

/** Whether the image was missing: then it was made of the host's busybox, which must be linked statically. */
async function importImage(endpoint: string): Promise<boolean> {
  const images = await clientOf(endpoint).listImages({ filters: { reference: [IMAGE] } });
  if (images.length > 0) return false;
  await run('bash', [program, 'image'], { env: { ...process.env, DOCKER_HOST: endpoint } });
  return true;
}

function clientOf(endpoint: string): Docker {
  return new Docker({ host: undefined, socketPath: endpoint.slice('unix://'.length) });
}
