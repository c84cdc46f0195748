import type { Services } from './graphql/context.ts';
import { createModelCatalog, type ModelCatalogOptions } from './models/catalog.ts';
import { ReleaseStore } from './modules/deployments/release-store.ts';
import { createDeployments } from './modules/deployments/service.ts';
import { createEnvironments } from './modules/environments/service.ts';
import { createEvents } from './modules/events/service.ts';
import { createIdentityService, type IdentityOptions } from './modules/identity/service.ts';
import { createNotifications } from './modules/notifications/service.ts';
import { createOrganizations } from './modules/organizations/service.ts';
import type { ServiceDependencies } from './modules/services.ts';
import { createStacks } from './modules/stacks/service.ts';
import { createRunServices } from './modules/workflows/composition.ts';
import type { Runtime } from './runtimes/runtime.ts';
import { GuardedHttp } from './shared/guarded-http.ts';

export type ServiceOptions = {
  identity: IdentityOptions;
  /** Whether PROCESS is there at all. */
  processRuntime: boolean;
  /** The host of new environments with PROCESS; null: this server has none. */
  hostForProcess(): Promise<string | null>;
  /** What carries out what is deployed to a host; null: another server does. */
  runtimeOf(hostId: string): Runtime | null;
  models: ModelCatalogOptions;
  /** Addresses and networks that agents, workflows and notifications may reach although they are not public. */
  allowedAddresses: readonly string[];
};

/** The services of all modules, made of each other. */
export function createServices(
  dependencies: ServiceDependencies,
  { identity, processRuntime, hostForProcess, runtimeOf, models, allowedAddresses }: ServiceOptions,
): { services: Services; releases: ReleaseStore } {
  const organizations = createOrganizations({ ...dependencies, processRuntime });
  const base = { ...dependencies, access: organizations.access };
  const environments = createEnvironments({ ...base, processRuntime, hostForProcess });
  const stacks = createStacks({ ...base, environments });
  const releases = new ReleaseStore({ ...dependencies, environments });
  const deployments = createDeployments({ ...base, environments, stacks, releases, processRuntime, runtimeOf });
  const http = new GuardedHttp(allowedAddresses);
  const notifications = createNotifications({ ...base, http });
  const catalog = createModelCatalog(models);
  const services: Services = {
    identity: createIdentityService(dependencies, identity),
    organizations,
    environments,
    stacks,
    deployments,
    events: createEvents(base),
    notifications,
    ...createRunServices({ ...base, catalog, http, deployments, stacks, notifier: notifications }),
  };
  return { services, releases };
}
