import { describe, expect, it } from 'vitest';
import type { ObservedInstance } from './observation.ts';
import { essenceOf, planChanges } from './plan.ts';
import type { ReplicaSpec } from './release.ts';

const replica = (service: string, number: number, change: Partial<ReplicaSpec> = {}): ReplicaSpec => ({
  service,
  replica: number,
  configHash: JSON.stringify(change),
  argv: ['sleep', '1000'],
  environment: { LEVEL: 'info' },
  workingDir: null,
  files: [{ target: '/etc/app.conf', content: 'one', mode: 0o444 }],
  volumes: [],
  ports: [{ target: 80, published: 8080 + number, host: '0.0.0.0', protocol: 'tcp' }],
  healthcheck: null,
  restart: { name: 'on-failure', maxRetries: 3 },
  stopSignal: 'SIGTERM',
  stopGracePeriodMs: 10_000,
  ...change,
});
const release = (...replicas: ReplicaSpec[]) => ({
  services: [...Map.groupBy(replicas, ({ service }) => service)].map(([name, own]) => ({
    name,
    dependsOn: [],
    peers: {},
    replicas: own,
  })),
});
const running = (spec: ReplicaSpec, change: Partial<ObservedInstance> = {}): ObservedInstance => ({
  id: `${spec.service}-${spec.replica}`,
  releaseId: 'release',
  service: spec.service,
  replica: spec.replica,
  configHash: spec.configHash,
  state: 'RUNNING',
  exitCode: null,
  isAlive: true,
  drift: [],
  spec,
  ...change,
});
const web = replica('web', 1);

describe('what a plan changes', () => {
  it('should be nothing where each replica is as wanted', () => {
    const [one, two] = [web, replica('web', 2)];
    expect(planChanges(release(one, two), [running(two), running(one)])).toEqual([
      { service: 'web', action: 'UNCHANGED', fields: [] },
    ]);
  });

  it('should name fields in the words of a compose file', () => {
    const next = replica('web', 1, {
      argv: ['sleep', '2000'],
      environment: {},
      files: [{ target: '/etc/app.conf', content: 'two', mode: 0o400 }],
      ports: [{ target: 80, published: 0, host: '127.0.0.1', protocol: 'tcp' }],
      healthcheck: { argv: ['true'], intervalMs: 1, timeoutMs: 2, retries: 3, startPeriodMs: 4, startIntervalMs: 5 },
      restart: { name: 'always', maxRetries: null },
    });
    expect(planChanges(release(next), [running(web)])).toEqual([
      {
        service: 'web',
        action: 'RECREATE',
        fields: [
          { path: 'command[1]', before: '1000', after: '2000' },
          { path: 'environment.LEVEL', before: 'info', after: null },
          { path: 'files["/etc/app.conf"].content', before: 'one', after: 'two' },
          { path: 'files["/etc/app.conf"].mode', before: '444', after: '400' },
          {
            path: 'healthcheck',
            before: null,
            after:
              '{"test":["true"],"interval":"1ms","timeout":"2ms","retries":3,"start_period":"4ms","start_interval":"5ms"}',
          },
          { path: 'ports["80/tcp"]', before: '0.0.0.0:8081', after: '127.0.0.1:(a free port)' },
          { path: 'restart', before: 'on-failure:3', after: 'always' },
        ],
      },
    ]);
  });

  it('should be the number of replicas alone where the rest is the same, also where some are lost', () => {
    const three = [1, 2, 3].map((number) => replica('web', number));
    const change = (before: number, after: number) =>
      planChanges(
        release(...three.slice(0, after)),
        three.slice(0, before).map((spec) => running(spec)),
      )[0];
    expect(change(1, 3)).toEqual({
      service: 'web',
      action: 'SCALE',
      fields: [{ path: 'deploy.replicas', before: '1', after: '3' }],
    });
    expect(change(3, 2)).toMatchObject({ action: 'SCALE', fields: [{ before: '3', after: '2' }] });
    expect(change(0, 2)).toMatchObject({ action: 'CREATE' });
  });

  it('should tell what has gone wrong with each replica, and be the same plan however it goes wrong', () => {
    const two = replica('web', 2);
    const broken = (change: Partial<ObservedInstance>) =>
      planChanges(release(web, two), [running(web), running(two, change)]);
    const exited = broken({ state: 'EXITED', exitCode: 3, isAlive: false });
    expect(exited[0]!.fields).toEqual([{ path: 'replicas[2].state', before: 'EXITED, exit code 3', after: 'RUNNING' }]);
    const essence = (change: Partial<ObservedInstance>) =>
      essenceOf(release(web, two), [running(web), running(two, change)]);
    const gone = essence({ state: 'EXITED', exitCode: 3, isAlive: false });
    expect(gone).toBe(essence({ state: 'UNHEALTHY', exitCode: 4, isAlive: false }));
    expect(gone).not.toBe(essence({}));
    // A restart policy at work is no news, and files are seen by servers of the same host alone.
    expect(essence({ state: 'RESTARTING', exitCode: 4, isAlive: false })).toBe(essence({}));
    expect(essence({ drift: [{ target: '/etc/app.conf', found: 'missing' }] })).toBe(essence({}));
    const changed = broken({ drift: [{ target: '/etc/app.conf', found: 'missing' }] });
    expect(changed).toMatchObject([
      {
        action: 'RECREATE',
        fields: [{ path: 'replicas[2].files["/etc/app.conf"]', before: '(missing)', after: 'one' }],
      },
    ]);
  });

  it('should be nothing where no replica is wanted and none runs, and take away those that do', () => {
    const none = { services: [{ name: 'web', dependsOn: [], peers: {}, replicas: [] }] };
    expect(planChanges(none, [])).toEqual([{ service: 'web', action: 'UNCHANGED', fields: [] }]);
    expect(planChanges(none, [running(web)])).toMatchObject([
      { action: 'SCALE', fields: [{ path: 'deploy.replicas', before: '1', after: '0' }] },
    ]);
  });

  it('should end with the services that the stack has no more', () => {
    const changes = planChanges(release(web), [running(replica('old', 1)), running(web), running(replica('api', 1))]);
    expect(changes.map(({ service, action }) => `${service} ${action}`)).toEqual([
      'web UNCHANGED',
      'api REMOVE',
      'old REMOVE',
    ]);
    expect(changes[1]!.fields).toContainEqual({ path: 'deploy.replicas', before: '1', after: null });
  });
});
