import { describe, expect, it } from 'vitest';
import type { ContainerModel } from './container-model.ts';
import { check } from './testing.ts';

const REST = 'networks: { front: , back: , aux: }\n';
const read = (lines: string) =>
  check(`services:\n  a: { image: "x:1", ${lines} }\n  b: { image: "y:1" }\n${REST}`, { runtime: 'DOCKER' });
const container = (lines: string): ContainerModel | undefined => read(lines).model?.services.a?.container;
const names = (lines: string) => container(lines)?.networks.map(({ network }) => network);

describe('networks of a container', () => {
  it.each([
    ['networks: [front, back]', ['back', 'front']],
    ['networks: { back: , front: { priority: 5 }, aux: { priority: 1 } }', ['front', 'aux', 'back']],
    ['networks: []', ['default']],
    ['networks: { default: { aliases: [z] } }', ['default']],
    ['hostname: h', ['default']],
    ['network_mode: host', []],
    ['network_mode: "service:b"', []],
  ])('should be, of %s, in this order: %j', (lines, expected) => {
    expect(names(lines)).toEqual(expected);
  });

  it('should be read with all that they say of an attachment', () => {
    const lines =
      'networks: { front: { aliases: [x, y, x], ipv4_address: 10.0.0.5, ipv6_address: "::5", link_local_ips: [169.254.1.1], driver_opts: { a: 1 }, interface_name: eth7, mac_address: "02:42:ac:11:00:02" } }';
    expect(container(lines)).toMatchObject({
      macAddress: '02:42:ac:11:00:02',
      networks: [
        {
          network: 'front',
          aliases: ['x', 'y'],
          ipv4Address: '10.0.0.5',
          ipv6Address: '::5',
          linkLocalIps: ['169.254.1.1'],
          driverOpts: { a: '1', 'com.docker.network.endpoint.ifname': 'eth7' },
        },
      ],
    });
  });

  it.each<[string, Partial<ContainerModel>]>([
    ['network_mode: none', { networkMode: 'none' }],
    ['network_mode: default', { networkMode: 'bridge' }],
    ['network_mode: "container:other"', { networkMode: 'container:other' }],
    ['dns: 8.8.8.8', { dns: ['8.8.8.8'] }],
    ['dns: [8.8.8.8, "2001:4860:4860::8888"]', { dns: ['8.8.8.8', '2001:4860:4860::8888'] }],
    ['dns_opt: [use-vc]', { dnsOpt: ['use-vc'] }],
    ['dns_search: example.com', { dnsSearch: ['example.com'] }],
    ['dns_search: [a.example, b.example]', { dnsSearch: ['a.example', 'b.example'] }],
    ['extra_hosts: ["a:1.2.3.4", "b=::1", "c:[::2]"]', { extraHosts: ['a:1.2.3.4', 'b:::1', 'c:::2'] }],
    ['extra_hosts: ["a=1.1.1.1", "a=2.2.2.2"]', { extraHosts: ['a:1.1.1.1', 'a:2.2.2.2'] }],
    [
      'extra_hosts: { a: 1.2.3.4, host.docker.internal: host-gateway, c: [5.6.7.8, "::1"] }',
      { extraHosts: ['a:1.2.3.4', 'c:5.6.7.8', 'c:::1', 'host.docker.internal:host-gateway'] },
    ],
    ['mac_address: "02:42:ac:11:65:43"', { macAddress: '02:42:ac:11:65:43' }],
    [
      'ports: [{ target: 80, published: "8080", app_protocol: HTTP }, { target: 5432 }, "81"]',
      { appProtocols: { 80: 'http' } },
    ],
    ['expose: [80, "53/udp", "3000-3002"]', { expose: ['80/tcp', '53/udp', '3000/tcp', '3001/tcp', '3002/tcp'] }],
    ['links: [b, "b:alias"]', { links: ['b:b', 'b:alias'] }],
  ])('should be read of %s', (lines, expected) => {
    expect(container(lines)).toMatchObject(expected);
  });

  it.each([
    ['network_mode: mine', 'network-mode-invalid'],
    ['network_mode: "service:c"', 'network-mode-invalid'],
    ['network_mode: "service:b", ports: ["8080:80"]', 'network-conflict'],
    ['network_mode: "container:x", dns: 1.1.1.1', 'network-conflict'],
    ['dns: dns.example', 'address-invalid'],
    ['networks: { front: { ipv4_address: "::1" } }', 'address-invalid'],
    ['extra_hosts: ["a:b"]', 'host-invalid'],
    ['extra_hosts: { a: b }', 'host-invalid'],
    ['expose: ["80-70"]', 'port-invalid'],
    ['expose: ["1-65535"]', 'too-many-ports'],
  ])('should be refused of %s: %s', (lines, rule) => {
    expect(read(lines).findings).toContainEqual(expect.objectContaining({ severity: 'ERROR', rule }));
  });

  it('should say that ports of the host network are not published', () => {
    expect(read('network_mode: host, ports: ["8080:80"]').findings).toContainEqual(
      expect.objectContaining({ rule: 'network-mode-unused', severity: 'WARNING', path: 'services.a.ports' }),
    );
    expect(read('network_mode: "service:b", ports: []').model).not.toBeNull();
  });
});
