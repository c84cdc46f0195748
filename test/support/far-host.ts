import { execFileSync, spawn } from 'node:child_process';

/** A second host on this machine: a network namespace at the other end of a cable that can be pulled. Root only. */
export class FarHost implements Disposable {
  /** The address of this host on the cable. */
  readonly here: string;
  readonly #name: string;
  readonly #near: string;

  private constructor(number: number) {
    this.#name = `wf-${process.pid}`;
    this.#near = `wf${process.pid}a`;
    this.here = `10.213.${number}.1`;
    ip('netns', 'add', this.#name);
    try {
      this.#connect(`wf${process.pid}b`, `10.213.${number}.2`);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  #connect(far: string, there: string): void {
    ip('link', 'add', this.#near, 'type', 'veth', 'peer', 'name', far);
    ip('link', 'set', far, 'netns', this.#name);
    ip('addr', 'add', `${this.here}/30`, 'dev', this.#near);
    ip('link', 'set', this.#near, 'up');
    ip('-n', this.#name, 'addr', 'add', `${there}/30`, 'dev', far);
    ip('-n', this.#name, 'link', 'set', far, 'up');
  }

  /** Null where this user or machine cannot make one. */
  static create(): FarHost | null {
    try {
      return new FarHost(process.pid % 256);
    } catch {
      return null;
    }
  }

  /** Runs a program there. */
  run(program: string, args: string[]) {
    return spawn('ip', ['netns', 'exec', this.#name, program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  }

  pullCable(): void {
    ip('link', 'set', this.#near, 'down');
  }

  [Symbol.dispose](): void {
    ip('netns', 'del', this.#name);
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: 'pipe' });
}
