import { describe, expect, it } from 'vitest';
import { plainHostPath, reachesEngine } from './host-paths.ts';
import { PRIVILEGES, type Privilege, privilegesOf } from './privileges.ts';
import { check } from './testing.ts';

const file = (service: string, rest: string) =>
  `services: { a: { image: "x:1", ${service} }, b: { image: "x:1" } }\n${rest}`;

/** Each privilege once, with the path of its first use. */
function asked(service: string, rest = ''): Partial<Record<Privilege, string>> {
  const { model, findings } = check(file(service, rest), { runtime: 'DOCKER', variables: {} });
  if (!model) throw new Error(findings.map(({ message }) => message).join('\n'));
  const uses = privilegesOf(model).toReversed();
  return Object.fromEntries(uses.map(({ privilege, path }) => [privilege, path.slice(2).join('.')]));
}

describe('privilegesOf', () => {
  it.each<[string, string, string?]>([
    ['privileged', 'privileged: true'],
    ['privileged', 'privileged: "yes"'],
    ['privileged', 'cgroup_parent: /'],
    ['privileged', 'runtime: nvidia'],
    ['privileged', 'sysctls: [kernel.panic=1]'],
    ['privileged', 'sysctls: { kernel/core_pattern: "|/x" }'],
    ['privileged', 'sysctls: { vm.max_map_count: 1 }'],
    ['host-network', 'network_mode: host'],
    ['host-network', 'network_mode: bridge'],
    ['host-network', 'network_mode: "container:x"'],
    ['host-network', 'networks: [n]', 'networks: { n: { external: true } }'],
    ['host-network', 'networks: [n]', 'networks: { n: { external: { name: x } } }'],
    ['host-network', 'networks: [n]', 'networks: { n: { name: other_default } }'],
    ['host-network', 'networks: [n]', 'networks: { n: { driver: macvlan, driver_opts: { parent: eth0 } } }'],
    ['host-network', 'networks: [n]', 'networks: { n: { driver: host } }'],
    ['host-network', 'networks: [n]', 'networks: { n: { driver_opts: { com.docker.network.bridge.name: docker0 } } }'],
    ['host-network', 'networks: [n]', 'networks: { n: { ipam: { driver: dhcp } } }'],
    ['host-network', 'networks: [default]', 'networks: { default: { name: bridge } }'],
    ['host-network', 'tty: true', 'networks: { default: { external: true } }'],
    ['host-network', 'build: { dockerfile_inline: FROM x, network: host }'],
    ['host-network', 'build: { dockerfile_inline: FROM x, network: "container:x" }'],
    ['host-namespaces', 'pid: host'],
    ['host-namespaces', 'ipc: host'],
    ['host-namespaces', 'uts: host'],
    ['host-namespaces', 'userns_mode: host'],
    ['host-namespaces', 'cgroup: host'],
    ['host-namespaces', 'pid: "container:x"'],
    ['host-namespaces', 'ipc: "container:x"'],
    ['host-paths', 'volumes: ["/etc:/x:ro"]'],
    ['host-paths', 'volumes: [{ type: bind, source: /etc, target: /x, read_only: true }]'],
    ['host-paths', 'volumes_from: ["container:x"]'],
    ['host-paths', 'volumes: ["v:/v"]', 'volumes: { v: { external: true } }'],
    ['host-paths', 'volumes: ["v:/v"]', 'volumes: { v: { name: other_data } }'],
    ['host-paths', 'volumes: ["v:/v"]', 'volumes: { v: { driver: local-persist } }'],
    ['host-paths', 'volumes: ["v:/v"]', 'volumes: { v: { driver_opts: { type: none, o: bind, device: /srv } } }'],
    ['host-paths', 'volumes: ["v:/v"]', 'volumes: { v: { driver_opts: { Type: None, O: "ro,rbind", Device: /srv } } }'],
    [
      'host-paths',
      'volumes: ["v:/v"]',
      'volumes: { v: { driver: local, driver_opts: { type: nfs, o: "rw,bind", device: /srv } } }',
    ],
    ['host-paths', 'volumes: ["v:/v"]', 'volumes: { v: { driver_opts: { type: ext4, device: /dev/sda1 } } }'],
    [
      'host-paths',
      'volumes: ["v:/v"]',
      'volumes: { v: { driver_opts: { type: overlay, o: "lowerdir=/etc,upperdir=/a", device: overlay } } }',
    ],
    ['host-paths', 'volumes: ["v:/v"]', 'volumes: { v: { driver_opts: { o: bind, device: srv } } }'],
    ['capabilities', 'cap_add: [SYS_ADMIN]'],
    ['capabilities', 'cap_add: [CAP_NET_ADMIN]'],
    ['capabilities', 'cap_add: [sys_ptrace]'],
    ['capabilities', 'cap_add: [ALL]'],
    ['capabilities', 'cap_drop: [ALL], cap_add: [all]'],
    ['devices', 'devices: [/dev/kvm]'],
    ['devices', 'devices: ["vendor.com/gpu=all"]'],
    ['devices', 'device_cgroup_rules: ["a *:* rwm"]'],
    ['security-opt', 'security_opt: [apparmor=unconfined]'],
    ['security-opt', 'security_opt: ["apparmor:unconfined"]'],
    ['security-opt', 'security_opt: [seccomp=unconfined]'],
    ['security-opt', 'security_opt: ["seccomp={}"]'],
    ['security-opt', 'security_opt: [label=disable]'],
    ['security-opt', 'security_opt: ["label:type:spc_t"]'],
    ['security-opt', 'security_opt: [systempaths=unconfined]'],
    ['security-opt', 'security_opt: ["no-new-privileges:false"]'],
    ['security-opt', 'security_opt: [writable-cgroups=true]'],
  ])('should find %s in { %s } %s', (privilege, service, rest) => {
    expect(Object.keys(asked(service, rest))).toEqual([privilege]);
  });

  it.each([
    '/var/run/docker.sock',
    '/var/run/../run/docker.sock',
    '//run//docker.sock/',
    '/run/docker.sock/.',
    '/RUN/../run/./docker.sock',
    '/',
    '/..',
    '/var',
    '/var/',
    '/run',
    '/var/run/',
    '/proc',
    '/proc/1/root',
    '/proc/self/root/run',
    '/proc/1/root/proc/1/cwd/var/run',
    '/proc/1/task/1/root',
    '/proc/1/fd/7',
    '/run/user/1000',
    '/run/user/1000/docker.sock',
    '/var/lib/docker',
    '/var/lib/docker/volumes/x',
    '/run/containerd/containerd.sock',
    '/mnt/docker-proxy.sock',
  ])('should find the engine by the path %s', (path) => {
    const expected = { 'docker-socket': 'volumes', 'host-paths': 'volumes' };
    expect(asked(`volumes: ["${path}:/x"]`)).toEqual(expected);
    expect(asked(`volumes: [{ type: bind, source: "${path}", target: /x }]`)).toEqual(expected);
    const options = `volumes: { v: { driver_opts: { type: none, o: bind, device: "${path}" } } }`;
    expect(asked('volumes: ["v:/x"]', options)).toEqual(expected);
  });

  it.each([
    '/variable',
    '/runs',
    '/srv/run',
    '/var/lib/dockers',
    '/srv/me',
    '/process',
  ])('should not find the engine by the path %s', (path) => {
    expect(reachesEngine(path)).toBe(false);
  });

  it.each([
    ['/a//b/', '/a/b'],
    ['/a/../../b', '/b'],
    ['/var/run', '/run'],
    ['/var/running', '/var/running'],
    ['/proc/1/root', '/'],
    ['/proc/self/cwd/etc', '/etc'],
  ])('should know %s as %s', (path, plain) => {
    expect(plainHostPath(path)).toBe(plain);
  });

  it.each<[string, string?]>([
    ['privileged: false, cap_drop: [ALL], cap_add: [CHOWN, CAP_NET_BIND_SERVICE]'],
    ['security_opt: ["no-new-privileges:true", "no-new-privileges", seccomp=builtin, apparmor=docker-default]'],
    ['sysctls: { net.core.somaxconn: 1024, kernel.shmmax: 1, fs.mqueue.msg_max: 5 }'],
    ['ipc: shareable, pid: "service:b", cgroup: private, runtime: runc'],
    ['network_mode: none'],
    ['network_mode: "service:b", volumes_from: [b]'],
    ['tmpfs: /run, volumes: [/data, "v:/v"]', 'volumes: { v: { driver: local } }'],
    ['volumes: ["v:/v"]', 'volumes: { v: { driver_opts: { type: nfs, o: "addr=10.0.0.1,rw", device: ":/x" } } }'],
    ['volumes: ["v:/v"]', 'volumes: { v: { driver_opts: { type: tmpfs, device: tmpfs, o: size=1m } } }'],
    [
      'networks: [n]',
      'networks: { n: { internal: true, driver: bridge, driver_opts: { com.docker.network.driver.mtu: 1400 } } }',
    ],
    ['logging: { driver: syslog }'],
    ['build: { dockerfile_inline: FROM x, network: none }'],
    ['tty: true', 'networks: { unused: { external: true } }\nvolumes: { unused: { external: true } }'],
  ])('should ask for nothing by { %s } %s', (service, rest) => {
    expect(asked(service, rest)).toEqual({});
  });
});

describe('checkStack with privileges', () => {
  const text = file('privileged: true, volumes: ["/var/run/docker.sock:/s"]', '');
  const refused = (privileges?: Privilege[]) =>
    check(text, { runtime: 'DOCKER', privileges }).said.filter((line) => line.includes('privilege-refused'));

  it('should refuse each use that is not allowed, where it stands', () => {
    expect(refused([])).toEqual([
      '1:32 ERROR privilege-refused',
      '1:50 ERROR privilege-refused',
      '1:50 ERROR privilege-refused',
    ]);
    expect(refused(['privileged', 'host-paths'])).toEqual(['1:50 ERROR privilege-refused']);
    expect(refused(Object.keys(PRIVILEGES) as Privilege[])).toEqual([]);
    const [finding] = check(text, { runtime: 'DOCKER', privileges: [] }).findings;
    expect(finding).toMatchObject({
      path: 'services.a.privileged',
      message: expect.stringContaining('The service "a" asks for all rights of the host'),
      suggestion: 'An owner of the organization allows it for this environment with environmentUpdate.',
    });
  });

  it('should say nothing where they are not given, and nothing of other runtimes', () => {
    expect(refused()).toEqual([]);
    const { said } = check(text, { runtime: 'PROCESS', privileges: [] });
    expect(said.filter((line) => line.includes('privilege-refused'))).toEqual([]);
  });
});
