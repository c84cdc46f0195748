import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../support/eventually.ts';
import { isAlive, startTimeOf } from '../support/server-place.ts';

export type CountedService = {
  /** Another generation is another configuration: it replaces the one before. */
  generation: number;
  dependsOn?: string[];
  /** Healthy once its gate is open; absent: no health check. */
  gated?: boolean;
  /** Ends with this code as soon as it is healthy, or at once. */
  exitCode?: number;
  /** How long it takes to stop. */
  stopSeconds?: number;
  restart?: string;
};

/** The process behind a start of a service. */
export type Start = { service: string; generation: number; pid: number };

const PROBE_PAUSE_MS = 20;
const PROBE_TIMEOUT_MS = 5_000;

/** Counts every start of a stack's services, by what they themselves write into a folder, and opens their gates. */
export class CountedStack {
  readonly folder: string;
  readonly name: string;
  readonly webPort: number;

  constructor(folder: string, name: string, webPort: number) {
    this.folder = folder;
    this.name = name;
    this.webPort = webPort;
  }

  /** A compose file with `web`, which never changes, and these services, which write down when they start and are told to stop. */
  compose(services: Record<string, CountedService>): string {
    const isGated = (name: string) => services[name]?.gated ?? false;
    const counted = Object.entries(services).map(([name, service]) => [name, this.#service(name, service, isGated)]);
    return JSON.stringify({ services: { web: this.#web(), ...Object.fromEntries(counted) } });
  }

  /** Lets a gated generation of a service become healthy. */
  open(service: string, generation: number): void {
    writeFileSync(this.#gate(service, generation), '');
  }

  close(service: string, generation: number): void {
    rmSync(this.#gate(service, generation), { force: true });
  }

  starts(): Start[] {
    return this.#records('starts');
  }

  /** Those that were told to stop. */
  stops(): Start[] {
    return this.#records('stops');
  }

  /** How often each generation of each service was started: `a1: 1`. */
  counts(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { service, generation } of this.starts()) {
      const key = `${service}${generation}`;
      counts[key] = (counts[key] ?? 0) + 1;
    }
    return counts;
  }

  /** What of it runs now: `a1`. */
  running(): string[] {
    return this.starts()
      .filter(({ pid }) => isAlive(pid))
      .map(({ service, generation }) => `${service}${generation}`)
      .sort();
  }

  /** Resolves once `web` answers. */
  async webIsUp(): Promise<void> {
    const answers = () =>
      get(this.webPort).then(
        () => true,
        () => false,
      );
    await eventually('web answers', answers);
  }

  /** The process of `web`: the same as before, or it was touched. */
  webIdentity(): string {
    const { pid } = this.starts().findLast(({ service }) => service === 'web')!;
    return `${pid} ${startTimeOf(pid)}`;
  }

  #gate(service: string, generation: number): string {
    return join(this.folder, `${this.name}-${service}-${generation}.open`);
  }

  #records(kind: string): Start[] {
    const file = join(this.folder, `${this.name}.${kind}`);
    if (!existsSync(file)) return [];
    return readFileSync(file, 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => {
        const [service, generation, pid] = line.split(' ');
        return { service: service!, generation: Number(generation), pid: Number(pid) };
      });
  }

  #web(): object {
    const program = `require('node:fs').appendFileSync('${join(this.folder, this.name)}.starts', 'web 1 ' + process.pid + '\\n');
      require('node:http').createServer((_, answer) => answer.end(String(process.pid))).listen(process.env.PORT)`;
    return { command: ['node', '-e', doubled(program)], ports: [`${this.webPort}:${this.webPort}`] };
  }

  #service(name: string, service: CountedService, isGated: (dependency: string) => boolean): object {
    const { generation, dependsOn = [], gated = false, exitCode, stopSeconds = 0, restart = 'no' } = service;
    const record = (kind: string) => `echo "${name} ${generation} $$" >> ${join(this.folder, this.name)}.${kind}`;
    const gate = this.#gate(name, generation);
    const work = exitCode === undefined ? 'while :; do sleep 3600 & wait $!; done' : `exit ${exitCode}`;
    const script = `trap '${record('stops')}; sleep ${stopSeconds}; exit 0' TERM; ${record('starts')}; ${work}`;
    return {
      command: ['sh', '-c', doubled(script)],
      restart,
      depends_on: Object.fromEntries(
        dependsOn.map((dependency) => [
          dependency,
          { condition: isGated(dependency) ? 'service_healthy' : 'service_started' },
        ]),
      ),
      ...(gated && {
        healthcheck: {
          test: ['CMD', 'test', '-e', gate],
          interval: '200ms',
          start_period: '120s',
          start_interval: '100ms',
          retries: 3,
        },
      }),
    };
  }
}

/** Asks a service's published port over and over, each time on a new connection. */
export class Prober implements AsyncDisposable {
  readonly failures: string[] = [];
  readonly answers = new Set<string>();
  requests = 0;
  readonly #over = new AbortController();
  readonly #running: Promise<void>;

  constructor(port: number) {
    this.#running = this.#run(port);
  }

  async #run(port: number): Promise<void> {
    while (!this.#over.signal.aborted) {
      this.requests++;
      await get(port).then(
        (answer) => this.answers.add(answer),
        (error: Error) => this.failures.push(error.message),
      );
      await sleep(PROBE_PAUSE_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    await this.#running;
  }
}

function get(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request({ port, host: '127.0.0.1', agent: false, timeout: PROBE_TIMEOUT_MS }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece) => (text += piece));
      response.once('end', () => resolve(text)).once('error', reject);
    });
    asked.once('timeout', () => asked.destroy(new Error(`no answer within ${PROBE_TIMEOUT_MS} ms`)));
    asked.once('error', reject).end();
  });
}

/** A dollar sign that the compose file does not interpolate. */
function doubled(text: string): string {
  return text.replaceAll('$', '$$$$');
}
