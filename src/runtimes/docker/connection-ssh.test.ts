import { createHash, generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Server, utils } from 'ssh2';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { RuntimeUnavailableError } from '../runtime.ts';
import { engineIdentity } from './connection.ts';

const INFO = { ApiVersion: '1.47', ID: 'one', Name: 'engine', ServerVersion: '29.0.0' };
const hostKey = rsaKey();
const userKey = rsaKey();

let folder: string;
let ssh: Server;
let engine: ReturnType<typeof createServer>;
const asked: string[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ssh-'));
  const socket = join(folder, 'engine.sock');
  engine = createServer((_, response) =>
    response.setHeader('content-type', 'application/json').end(JSON.stringify(INFO)),
  );
  await once(engine.listen(socket), 'listening');
  ssh = new Server({ hostKeys: [hostKey] }, (client) => {
    client.on('error', () => {});
    client.on('authentication', (attempt) => (attempt.method === 'publickey' ? attempt.accept() : attempt.reject()));
    client.on('session', (accept) =>
      accept().on('exec', (open, _, { command }) => {
        asked.push(command);
        const channel = open();
        channel.pipe(net.connect(socket)).pipe(channel);
      }),
    );
  });
  ssh.listen(0, '127.0.0.1');
  await once(ssh, 'listening');
});
afterAll(() => {
  ssh.close();
  engine.close();
  rmSync(folder, { recursive: true });
});

const ask = (...sshHostKeys: string[]) => {
  const endpoint = `ssh://deployer@127.0.0.1:${(ssh.address() as AddressInfo).port}`;
  return engineIdentity({ endpoint, sshKey: userKey, sshHostKeys, isLocal: true });
};

it('should reach an engine behind a host whose key it knows', async () => {
  expect(await ask(fingerprint(userKey), fingerprint(hostKey))).toEqual({
    id: 'one',
    name: 'engine',
    version: '29.0.0',
  });
  expect(new Set(asked)).toEqual(new Set(['docker system dial-stdio']));
});

it('should say nothing to a host whose key it does not know', async () => {
  const before = asked.length;
  for (const known of [[fingerprint(userKey)], []]) {
    const answer = ask(...known);
    await expect(answer).rejects.toThrow(RuntimeUnavailableError);
    await expect(answer).rejects.toThrow(/cannot be reached: .*host denied/i);
  }
  expect(asked).toHaveLength(before);
});

function rsaKey(): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
  return privateKey.export({ type: 'pkcs1', format: 'pem' }).toString();
}

function fingerprint(privateKey: string): string {
  const key = utils.parseKey(privateKey);
  if (key instanceof Error) throw key;
  return `SHA256:${createHash('sha256').update(key.getPublicSSH()).digest('base64').replace(/=+$/, '')}`;
}
