import { describe, expect, it } from 'vitest';
import { NOTHING_SPECIAL } from '../../../test/runtimes/container-spec.ts';
import type { ContainerSpec, InstanceSpec } from '../runtime.ts';
import { containerBody, containerNames, endpointsOf, type Surroundings, stopTimeoutS } from './container-config.ts';

const STACK = { id: 'stack', environmentId: 'environment', stackId: 'any', uid: null };
const IMAGE = { name: 'nginx', id: 'sha256:1', digest: null, platform: null, healthcheck: null };
const AROUND: Surroundings = {
  networkName: (key) => `shop_${key}`,
  volumeName: (key) => `shop_${key}`,
  containerOf: (service) => `id-of-${service}`,
  fileMounts: [],
};

function specOf(container: Partial<ContainerSpec> = {}, differing: Partial<InstanceSpec> = {}): InstanceSpec {
  return {
    instanceId: '01234567-89ab-cdef-0123-456789abcdef',
    service: 'web',
    replica: 2,
    configHash: 'hash',
    argv: [],
    environment: { A: 'b=c' },
    workingDir: null,
    files: [],
    volumes: [],
    ports: [],
    healthcheck: null,
    restart: { name: 'on-failure', maxRetries: 3 },
    stopSignal: 'SIGTERM',
    stopGracePeriodMs: 1_500,
    container: { ...NOTHING_SPECIAL, project: 'shop', image: IMAGE, command: null, ...container },
    ...differing,
  };
}

const bodyOf = (container?: Partial<ContainerSpec>, differing?: Partial<InstanceSpec>) =>
  containerBody(STACK, specOf(container, differing), 7, AROUND);

describe('what the engine is told of a replica', () => {
  it('should be its own image’s defaults where the service says nothing', () => {
    const body = bodyOf();
    expect(body).toMatchObject({ Image: 'sha256:1', Env: ['A=b=c'], StopTimeout: 2, Healthcheck: { Test: ['NONE'] } });
    for (const key of ['Cmd', 'Entrypoint', 'User', 'WorkingDir', 'Hostname']) expect(body).not.toHaveProperty(key);
    expect(body.HostConfig).toMatchObject({
      NetworkMode: 'shop_default',
      RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 },
      LogConfig: { Type: 'json-file', Config: { 'max-size': '16m', 'max-file': '4' } },
    });
  });

  it('should be named and found as Compose does', () => {
    expect(bodyOf({ labels: { own: '1', 'io.windflow.stack': 'forged' } }).Labels).toMatchObject({
      own: '1',
      'io.windflow.stack': 'stack',
      'io.windflow.epoch': '7',
      'com.docker.compose.container-number': '2',
    });
    expect(containerNames(specOf())[0]).toBe('shop-web-2');
    expect(containerNames(specOf({ containerName: 'db' }))[0]).toBe('db');
  });

  it('should tell clearing an entrypoint from keeping it', () => {
    expect(bodyOf({ entrypoint: [], command: ['a'] })).toMatchObject({ Entrypoint: [''], Cmd: ['a'] });
  });

  it('should publish one port of the container at several places', () => {
    const port = { target: 80, published: 8080, host: '0.0.0.0', protocol: 'tcp' as const };
    const ports = [port, { ...port, published: 8081, host: '127.0.0.1' }, { ...port, protocol: 'udp' as const }];
    const body = bodyOf({ expose: ['9000/tcp'] }, { ports });
    expect(body.ExposedPorts).toEqual({ '80/tcp': {}, '80/udp': {}, '9000/tcp': {} });
    expect(body.HostConfig.PortBindings).toEqual({
      '80/tcp': [
        { HostIp: '0.0.0.0', HostPort: '8080' },
        { HostIp: '127.0.0.1', HostPort: '8081' },
      ],
      '80/udp': [{ HostIp: '0.0.0.0', HostPort: '8080' }],
    });
  });

  it('should mount what the engine makes itself as a text, everything else as a mount', () => {
    const bind = {
      type: 'bind' as const,
      source: '/srv',
      target: '/a',
      readOnly: true,
      propagation: null,
      selinux: null,
    };
    const volume = {
      type: 'volume' as const,
      source: 'data',
      target: 'data',
      readOnly: false,
      copy: false,
      subpath: null,
    };
    const { HostConfig: host } = bodyOf({
      mounts: [
        { ...bind, createHostPath: true, selinux: 'z' },
        { ...bind, createHostPath: false },
        volume,
        { ...volume, source: null, target: '/b' },
        { type: 'tmpfs', target: '/c', readOnly: false, size: 1024, mode: null },
      ],
    });
    expect(host.Binds).toEqual(['/srv:/a:ro,z']);
    expect(host.Mounts).toMatchObject([
      { Type: 'bind', Source: '/srv', Target: '/a', ReadOnly: true },
      { Type: 'volume', Source: 'shop_data', Target: '/data', VolumeOptions: { NoCopy: true } },
      { Type: 'volume', Source: '', Target: '/b' },
      { Type: 'tmpfs', Target: '/c', TmpfsOptions: { SizeBytes: 1024 } },
    ]);
  });

  it('should name the containers of services that it shares something with', () => {
    const { HostConfig: host } = bodyOf({
      networkMode: 'service:vpn',
      ipc: 'service:db',
      pid: 'host',
      volumesFrom: ['db:ro', 'container:other'],
    });
    expect(host).toMatchObject({
      NetworkMode: 'container:id-of-vpn',
      IpcMode: 'container:id-of-db',
      PidMode: 'host',
      VolumesFrom: ['id-of-db:ro', 'other'],
    });
    expect(endpointsOf(specOf({ networkMode: 'host' }), AROUND)).toEqual([]);
  });

  it('should be found in each network by its service’s name and its aliases', () => {
    const attachment = { ...NOTHING_SPECIAL.networks[0]!, aliases: ['www'] };
    const networks = [attachment, { ...attachment, network: 'back', aliases: [], ipv4Address: '10.0.0.9' }];
    expect(endpointsOf(specOf({ networks, links: ['db:store'] }), AROUND)).toMatchObject([
      { network: 'shop_default', endpoint: { Aliases: ['web', 'shop-web-2', 'www'], Links: ['db:store'] } },
      { network: 'shop_back', endpoint: { Aliases: ['web', 'shop-web-2'], IPAMConfig: { IPv4Address: '10.0.0.9' } } },
    ]);
  });

  it('should be checked with the engine’s own units', () => {
    const healthcheck = {
      argv: ['true'],
      intervalMs: 50,
      timeoutMs: 100,
      retries: 2,
      startPeriodMs: 1,
      startIntervalMs: 5,
    };
    expect(bodyOf({}, { healthcheck }).Healthcheck).toMatchObject({
      Test: ['CMD', 'true'],
      Interval: 5e7,
      Timeout: 1e8,
      Retries: 2,
    });
    expect(stopTimeoutS(specOf({}, { stopGracePeriodMs: 0 }))).toBe(0);
  });
});
