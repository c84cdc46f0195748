import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { expect, it } from 'vitest';

const DEMO = new URL('../../examples/demo/demo.ts', import.meta.url).pathname;

async function runDemo(environment: NodeJS.ProcessEnv): Promise<{ code: number; output: string }> {
  const child = spawn(process.execPath, [DEMO], { env: { ...process.env, ...environment } });
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { code, output: stdout + stderr };
}

it('should show a deployment, a broken one and its undoing, a plan, replicas, a rollback, a workflow and a refusal, and succeed', async () => {
  const { code, output } = await runDemo({ WINDFLOW_URL: '' });
  expect(output).toMatch(/#1 .*RUNNING/);
  expect(output).toContain('Hello, visitor 3');
  expect(output).toContain('#2 failed: service worker: exited with code 1');
  expect(output).toMatch(/[1-9]\d* requests to \S+ meanwhile, none failed/);
  expect(output).toMatch(/RECREATE +web\n.*environment\.GREETING: Hello → Welcome/);
  expect(output).toMatch(/SCALE +worker\n.*deploy\.replicas: 1 → 2/);
  expect(output).toContain('replicas of worker: 1 running, 2 running');
  expect(output).toMatch(/#4 .*RUNNING/);
  expect(output).toMatch(
    /viewer-\w+: the server refused: .*needs the role DEVELOPER, yours is VIEWER.*\(PERMISSION_DENIED\)/,
  );
  expect(output).toContain('"Deployment 5 is RUNNING. Is that well?" Yes.');
  expect(output).toContain('the workflow: completed');
  expect(output).toMatch(/#5 .*STOPPED/);
  expect(code, output).toBe(0);
});

it('should say what to do where the server that it is given does not answer', async () => {
  const { code, output } = await runDemo({ WINDFLOW_URL: 'http://127.0.0.1:9' });
  expect(output).toContain('no WindFlow server answers at http://127.0.0.1:9 (WINDFLOW_URL): start it, or unset');
  expect(code).toBe(1);
});
