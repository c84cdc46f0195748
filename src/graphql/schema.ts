import { lexicographicSortSchema } from 'graphql';
import { builder } from './builder.ts';
import './error-types.ts';
import './nodes.ts';
import '../modules/identity/schema.ts';
import '../modules/organizations/schema.ts';
import '../modules/organizations/members-schema.ts';
import '../modules/organizations/invitations-schema.ts';
import '../modules/environments/schema.ts';
import '../modules/stacks/schema.ts';
import '../modules/stacks/operations-schema.ts';
import '../modules/agents/schema.ts';
import '../modules/agents/operations-schema.ts';
import '../modules/executions/schema.ts';
import '../modules/executions/operations-schema.ts';
import '../modules/executions/subscriptions-schema.ts';
import '../modules/agents/runs-schema.ts';
import '../modules/workflows/schema.ts';
import '../modules/workflows/operations-schema.ts';
import '../modules/deployments/schema.ts';
import '../modules/deployments/operations-schema.ts';
import '../modules/executions/links-schema.ts';
import '../modules/deployments/plans-schema.ts';
import '../modules/deployments/logs-schema.ts';
import '../modules/deployments/subscriptions-schema.ts';
import '../modules/deployments/stats-schema.ts';
import '../modules/deployments/changes-schema.ts';
import '../modules/events/schema.ts';
import '../modules/notifications/schema.ts';
import '../modules/notifications/operations-schema.ts';

/** The executable schema: every module's types and root fields. */
export const schema = builder.toSchema({ sortSchema: false });

/** The same, in the order in which it is printed. */
export const sortedSchema = lexicographicSortSchema(schema);
