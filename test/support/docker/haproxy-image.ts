import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type Docker from 'dockerode';

const run = promisify(execFile);
const BINARY = '/usr/sbin/haproxy';
const TAG = 'local';

/** An image of Debian's haproxy and its libraries, laid out like the official one: no registry is asked. Answers its name. */
export async function buildHaproxyImage(docker: Docker): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'haproxy-image-'));
  try {
    const { stdout: libraries } = await run('ldd', [BINARY]);
    for (const path of [BINARY, ...libraries.matchAll(/\/\S+/g)].map(String)) {
      await mkdir(join(root, dirname(path)), { recursive: true });
      await cp(path, join(root, path), { dereference: true });
    }
    await mkdir(join(root, 'usr/local/etc/haproxy'), { recursive: true });
    await run('tar', ['-C', root, '-cf', join(root, 'root.tar'), 'usr', ...(await rootFolders(root))]);
    const progress = await docker.importImage(join(root, 'root.tar'), { repo: 'haproxy', tag: TAG });
    await new Promise((resolve, reject) => {
      docker.modem.followProgress(progress, (error, output) => (error ? reject(error) : resolve(output)));
    });
  } finally {
    await rm(root, { recursive: true });
  }
  return `haproxy:${TAG}`;
}

async function rootFolders(root: string): Promise<string[]> {
  const { stdout } = await run('find', [root, '-mindepth', '1', '-maxdepth', '1', '-name', 'lib*', '-printf', '%f\n']);
  return stdout.split('\n').filter((name) => name !== '');
}
