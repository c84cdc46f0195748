import { type Cell, FALSE, FROM_FILES, honoured, TRUE, under } from './support-cells.ts';

const ALLOWED = 'an owner of the organization has to allow it for the environment.';
const NO_LABELS = 'Labels of this are not kept; those of the service are.';
const NOT_SET = 'It is not set: the engine has its own default.';
const WINDOWS = 'It only concerns engines on Windows.';
const NO_TEMPLATES = 'Templates are not filled in: the program would read them as they stand.';
const NO_DRIVER = 'No driver is loaded for it.';
const NOT_RUN = 'The commands would not be run.';
const NO_MODELS = 'Models are not run by an engine.';
const STRATEGY = "The deployment's own strategy decides how it is rolled out.";
const AT_DEPLOYMENT = 'Images are pulled when a stack is deployed, and not in between.';
const NO_BUILD_SECRETS = 'It cannot be handed to a build: what needs it would fail.';
const LIMIT = 'This limit is not set: memory, CPUs and processes can be limited.';

const TOP_LEVEL: Record<string, Cell> = {
  name: ['info', 'A stack has its own name here: what the engine has of it is named after that.'],
  models: ['error', NO_MODELS],
  ...under('volumes.*.', {
    name: ['rules', `A volume with a name of its own may be another stack's: ${ALLOWED}`],
    external: ['rules', `A volume that exists elsewhere may be another stack's: ${ALLOWED}`, FALSE],
    driver: ['rules', `For other drivers than "local", ${ALLOWED}`],
    driver_opts: ['rules', `For options that reach folders or devices of the host, ${ALLOWED}`],
    labels: ['yes'],
  }),
  ...under('networks.*.', {
    name: ['rules', `A network with a name of its own may be another stack's: ${ALLOWED}`],
    external: ['rules', `A network that exists elsewhere may be another stack's: ${ALLOWED}`, FALSE],
    driver: ['rules', `For other drivers than "bridge" and "overlay", ${ALLOWED}`],
    driver_opts: ['rules', `For options that reach the host's own networks, ${ALLOWED}`],
    enable_ipv4: ['warning', 'Each network has IPv4 addresses.', TRUE],
    'ipam.driver': ['rules', `For other drivers than "default", ${ALLOWED}`],
    'ipam.config[].aux_addresses': ['warning', 'The addresses are not kept free. Give "ip_range" to leave some out.'],
  }),
  ...honoured('networks.*.', 'internal attachable enable_ipv6 labels ipam ipam.options'),
  ...honoured('networks.*.ipam.config[].', 'subnet ip_range gateway'),
  ...honoured('configs.*.', 'content environment'),
  ...honoured('secrets.*.', 'content environment'),
  ...under('configs.*.', {
    file: ['rules', FROM_FILES],
    name: ['info', 'The config is known by its key.'],
    external: ['error', 'Only configs of the file itself can be used.', FALSE],
    labels: ['warning', NO_LABELS],
    template_driver: ['error', NO_TEMPLATES],
  }),
  ...under('secrets.*.', {
    file: ['rules', FROM_FILES],
    name: ['info', 'The secret is known by its key.'],
    external: ['error', 'Only secrets of the file itself can be used.', FALSE],
    labels: ['warning', NO_LABELS],
    driver: ['error', NO_DRIVER],
    driver_opts: ['error', NO_DRIVER],
    template_driver: ['error', NO_TEMPLATES],
  }),
};

const HONOURED = honoured(
  'services.*.',
  [
    'annotations cap_drop command cpu_period cpu_quota cpu_shares cpus cpuset depends_on dns dns_opt dns_search domainname',
    'entrypoint environment expose extends extra_hosts group_add healthcheck hostname init labels links mac_address',
    'mem_limit mem_reservation mem_swappiness memswap_limit oom_kill_disable oom_score_adj pids_limit platform profiles',
    'configs secrets volumes volumes[].bind volumes[].tmpfs networks logging deploy.resources',
    'read_only restart scale shm_size stdin_open stop_grace_period stop_signal storage_opt tty ulimits user working_dir',
    'env_file[].required env_file[].format depends_on.*.condition depends_on.*.required',
    'ports[].target ports[].published ports[].protocol ports[].host_ip',
    'volumes[].target volumes[].read_only volumes[].bind.propagation volumes[].bind.create_host_path',
    'volumes[].bind.selinux volumes[].volume.nocopy volumes[].volume.subpath volumes[].tmpfs.size volumes[].tmpfs.mode',
    'configs[].source configs[].target configs[].mode configs[].uid configs[].gid',
    'secrets[].source secrets[].target secrets[].mode secrets[].uid secrets[].gid',
    'networks.*.aliases networks.*.interface_name networks.*.ipv4_address networks.*.ipv6_address',
    'networks.*.link_local_ips networks.*.driver_opts networks.*.priority',
    'build.dockerfile build.dockerfile_inline build.args build.labels build.cache_from build.extra_hosts build.target',
    'build.no_cache build.pull build.platforms build.shm_size build.tags',
    'deploy.replicas deploy.restart_policy.condition deploy.restart_policy.max_attempts',
    'deploy.resources.limits.cpus deploy.resources.limits.memory deploy.resources.limits.pids',
    'deploy.resources.reservations.memory logging.options',
  ].join(' '),
);

const WITHIN_LIMITS = under('services.*.', {
  build: [
    'rules',
    'From files of "x-windflow: { files: … }" or a git repository; what a build cannot be given is refused.',
  ],
  cap_add: ['rules', `For capabilities that an engine does not give every container, ${ALLOWED}`],
  cgroup: ['rules', `For "host", ${ALLOWED}`],
  cgroup_parent: ['rules', `For any, ${ALLOWED}`],
  container_name: ['rules', 'A service with a fixed name has one replica, and the name is free on the engine.'],
  device_cgroup_rules: ['rules', `For any, ${ALLOWED}`],
  devices: ['rules', `For any, ${ALLOWED}`],
  env_file: ['rules', FROM_FILES],
  'env_file[].path': ['rules', FROM_FILES],
  image: ['rules', 'A release keeps the digest of the image that it was deployed with.'],
  ipc: ['rules', `For "host" and another container's, ${ALLOWED}`],
  'logging.driver': ['rules', 'Lines are shown of json-file, local and journald; others are set, with a WARNING.'],
  network_mode: ['rules', `For host, bridge and containers of others, ${ALLOWED}`],
  pid: ['rules', `For "host" and another container's, ${ALLOWED}`],
  ports: ['rules', 'Replicas have a port each: a range, or "x-windflow: { ingress: true }".'],
  privileged: ['rules', `For true, ${ALLOWED}`, FALSE],
  pull_policy: ['rules', `${AT_DEPLOYMENT} daily, weekly, every_… and refresh are "always".`],
  runtime: ['rules', `For others than "runc", ${ALLOWED}`],
  security_opt: ['rules', `For options that loosen a container's isolation, ${ALLOWED}`],
  sysctls: ['rules', `For parameters that are the host's too, ${ALLOWED}`],
  tmpfs: ['rules', 'Of the options, size, mode and ro are used.'],
  userns_mode: ['rules', `For "host", ${ALLOWED}`],
  uts: ['rules', `For "host", ${ALLOWED}`],
  volumes_from: ['rules', `For "container:name", ${ALLOWED}`],
  'volumes[].type': ['rules', 'For volume, bind and tmpfs; cluster, npipe and image are refused.'],
  'volumes[].source': [
    'rules',
    `A relative path is a file or folder of "x-windflow: { files: … }"; for an absolute path of the host, ${ALLOWED}`,
  ],
  'volumes[].image': ['rules', 'Image mounts are refused as a whole.'],
  'build.context': [
    'rules',
    'A folder of "x-windflow: { files: … }", or a git repository: "https://…/name.git#ref:dir".',
  ],
  'build.network': ['rules', `For others than default and none, ${ALLOWED}`],
  'deploy.mode': ['rules', '"global" is as many replicas as are asked for, on one engine; jobs are refused.'],
  'deploy.update_config': ['rules', 'The strategy ROLLING uses "parallelism" and "order".'],
  'deploy.update_config.parallelism': ['rules', 'The strategy ROLLING replaces so many replicas at a time.'],
  'deploy.update_config.order': ['rules', 'The strategy ROLLING starts or stops first as it says.'],
});

const NOT_HONOURED = under('services.*.', {
  attach: ['info', 'Output is always collected.'],
  blkio_config: ['warning', LIMIT],
  cpu_count: ['warning', WINDOWS],
  cpu_percent: ['warning', WINDOWS],
  cpu_rt_period: ['warning', LIMIT],
  cpu_rt_runtime: ['warning', LIMIT],
  credential_spec: ['error', WINDOWS],
  develop: ['info', 'It only concerns tools for development.'],
  external_links: ['error', 'Links to containers of others are not made: join a network of theirs that is external.'],
  gpus: ['error', 'GPUs are not handed to containers: programs that need them would fail.'],
  isolation: ['warning', WINDOWS, ['default']],
  models: ['error', NO_MODELS],
  post_start: ['error', NOT_RUN],
  pre_stop: ['error', NOT_RUN],
  provider: ['error', 'Services of a provider cannot be run.'],
  pull_refresh_after: ['info', AT_DEPLOYMENT],
  use_api_socket: ['error', "The engine's socket is not handed out. Mount it, where that is allowed.", FALSE],
  'depends_on.*.restart': ['warning', 'The service is not restarted along with what it depends on.', FALSE],
  'networks.*.gw_priority': ['warning', 'The network of the highest priority has the way out.'],
  'networks.*.mac_address': ['warning', 'Give it to the service, as "mac_address"; that of the first network counts.'],
  'ports[].name': ['info', 'The name of a port is only kept in the file.'],
  'ports[].app_protocol': ['rules', 'Of use where the stack has an ingress: it need not find out what is spoken.'],
  'ports[].mode': ['info', 'There is one engine: both modes mean the same.'],
  'volumes[].consistency': ['info', 'A mount is always consistent.'],
  'volumes[].bind.recursive': ['warning', NOT_SET],
  'volumes[].volume.labels': ['warning', NO_LABELS],
  'build.additional_contexts': ['error', 'A build has one context: copy what it needs into its folder.'],
  'build.cache_to': ['warning', "The cache stays on the engine's host."],
  'build.entitlements': ['error', 'A build is given no further rights: what needs them would fail.'],
  'build.isolation': ['warning', WINDOWS, ['default']],
  'build.privileged': ['error', 'A build is given no further rights: what needs them would fail.', FALSE],
  'build.secrets': ['error', NO_BUILD_SECRETS],
  'build.ssh': ['error', NO_BUILD_SECRETS],
  'build.ulimits': ['warning', NOT_SET],
  'deploy.endpoint_mode': ['warning', 'The name of a service resolves to all of its replicas.', ['dnsrr']],
  'deploy.labels': ['warning', NO_LABELS],
  'deploy.placement': ['warning', 'There is one engine: no other place could be chosen.'],
  'deploy.resources.reservations.cpus': ['warning', 'CPUs cannot be reserved, only limited.'],
  'deploy.resources.reservations.devices': [
    'error',
    'Devices are not handed to containers this way: programs that need them would fail.',
  ],
  'deploy.resources.reservations.generic_resources': [
    'warning',
    'There is one engine: no other place could be chosen.',
  ],
  'deploy.restart_policy.delay': ['warning', 'The delay between restarts grows by itself.'],
  'deploy.restart_policy.window': ['warning', 'A service that ran for 10 seconds counts as started.'],
  'deploy.rollback_config': ['warning', 'What ran before is restored as a whole, in the order of dependencies.'],
  'deploy.update_config.delay': ['warning', STRATEGY],
  'deploy.update_config.failure_action': ['warning', STRATEGY],
  'deploy.update_config.monitor': ['warning', STRATEGY],
  'deploy.update_config.max_failure_ratio': ['warning', STRATEGY],
});

/** What an engine of containers makes of each key. */
export const DOCKER: Record<string, Cell> = { ...TOP_LEVEL, ...HONOURED, ...WITHIN_LIMITS, ...NOT_HONOURED };
