import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type Docker from 'dockerode';
import { eventually } from '../eventually.ts';
import { IMAGE } from './containers.ts';
import type { OwnEngine } from './own-engine.ts';

const HOST = '127.0.0.1';
/** Forwards to the first port on the second one; with a third argument it breaks off, for good, after so many bytes of an answer. */
const FORWARDER = `
  const net = require('node:net'), [to, port, limit] = process.argv.slice(1).map(Number);
  let passed = 0;
  net.createServer((near) => {
    const far = to > 0 && passed <= limit ? net.connect(to, '${HOST}') : null;
    near.on('error', () => {});
    if (!far) return to > 0 ? near.destroy() : undefined;
    far.on('error', () => {}).on('close', () => near.destroy());
    near.on('close', () => far.destroy()).pipe(far);
    far.on('data', (bytes) => (passed += bytes.length) > limit ? near.destroy() : near.write(bytes));
  }).listen(port, '${HOST}', () => console.error('listening on'));
`;

export type Login = { username: string; password: string };
export const LOGIN: Login = { username: 'deployer', password: 'correct horse battery' };
/** Of that password, with bcrypt. */
const HTPASSWD = 'deployer:$2y$05$abcdefghijklmnopqrstuuD3mHdCr44zlIZ.VZCaYRpfQhXMYnEo.';

/** A registry in the network of an engine, which pulls from it as from any other. */
export class Registry implements AsyncDisposable {
  readonly host: string;
  readonly #engine: OwnEngine;
  readonly #config: string;
  readonly #login: Login | undefined;
  #process: ChildProcess | null = null;

  /** `isClosed`: only the user of LOGIN is let in. */
  static async start(engine: OwnEngine, port: number, { isClosed = false } = {}): Promise<Registry> {
    const registry = new Registry(engine, port, isClosed);
    await registry.up();
    return registry;
  }

  private constructor(engine: OwnEngine, port: number, isClosed: boolean) {
    this.#engine = engine;
    this.host = `${HOST}:${port}`;
    this.#login = isClosed ? LOGIN : undefined;
    const file = (name: string) => path.join(engine.folder, `registry-${port}${name}`);
    this.#config = file('.json');
    writeFileSync(file('.htpasswd'), HTPASSWD);
    const storage = { filesystem: { rootdirectory: file('') }, delete: { enabled: true } };
    const auth = isClosed ? { auth: { htpasswd: { realm: 'tests', path: file('.htpasswd') } } } : {};
    writeFileSync(this.#config, JSON.stringify({ version: '0.1', http: { addr: this.host }, storage, ...auth }));
  }

  async up(): Promise<void> {
    this.#process = await listening(this.#engine, ['docker-registry', 'serve', this.#config]);
  }

  async down(): Promise<void> {
    await end(this.#process);
    this.#process = null;
  }

  /** Gives a name of this registry to an image like IMAGE that differs from all others, and takes it off the engine again. */
  async publish(name: string, files = ''): Promise<string> {
    const { docker } = this.#engine;
    const [repo, tag] = name.split(':') as [string, string];
    const container = await docker.createContainer({ Image: IMAGE, Cmd: ['sh', '-c', files] });
    if (files !== '') {
      await container.start();
      await container.wait();
    }
    await container.commit({ repo: `${this.host}/${repo}`, tag });
    await container.remove();
    const image = docker.getImage(`${this.host}/${name}`);
    await finished(docker, await image.push({ authconfig: { ...this.#login, serveraddress: this.host } }));
    const { Id } = await image.inspect();
    await image.remove({ force: true });
    return Id;
  }

  /** Takes an image away: "host/name@digest". */
  async forget(image: string): Promise<void> {
    const [name, digest] = image.slice(this.host.length + 1).split('@');
    const url = `http://${this.host}/v2/${name}/manifests/${digest}`;
    const [code] = await once(this.#engine.spawn('curl', '-sf', '-X', 'DELETE', url), 'exit');
    if (code !== 0) throw new Error(`${image} could not be taken away: curl ended with ${code}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }
}

/** An address in an engine's network that takes connections and never answers. */
export async function silentRegistry(engine: OwnEngine, port: number): Promise<AsyncDisposable & { host: string }> {
  return forwarder(engine, 0, port, 0);
}

/** The way to a registry that breaks off, for good, when so many bytes came through it. */
export async function breakingRegistry(engine: OwnEngine, registry: Registry, port: number, bytes: number) {
  return forwarder(engine, Number(registry.host.split(':')[1]), port, bytes);
}

async function forwarder(engine: OwnEngine, to: number, port: number, limit: number) {
  const child = await listening(engine, [process.execPath, '-e', FORWARDER, ...[to, port, limit].map(String)]);
  return { host: `${HOST}:${port}`, [Symbol.asyncDispose]: () => end(child) };
}

async function listening(engine: OwnEngine, command: readonly string[]): Promise<ChildProcess> {
  const child = engine.spawn(...command);
  let said = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (bytes) => (said += bytes));
  await eventually('it listens', () => {
    if (child.exitCode !== null) throw new Error(said);
    return said.includes('listening on');
  });
  return child;
}

async function end(child: ChildProcess | null): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

function finished(docker: Docker, stream: NodeJS.ReadableStream): Promise<void> {
  return new Promise((resolve, reject) => {
    docker.modem.followProgress(stream, (error: Error | null) => (error ? reject(error) : resolve()));
  });
}
