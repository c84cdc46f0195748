-- A deployment may run a release again that another one made.
DROP INDEX "deployments_release_id_key";

CREATE INDEX "deployments_release_id_idx" ON "deployments"("release_id");

ALTER TABLE "deployments" ADD COLUMN "plan_digest" TEXT;

CREATE TABLE "deployment_plans" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "stack_id" UUID NOT NULL,
    "stack_version_id" UUID NOT NULL,
    "environment_id" UUID NOT NULL,
    "strategy" "DeploymentStrategy" NOT NULL,
    "digest" TEXT NOT NULL,
    "changes" JSONB NOT NULL,
    "findings" JSONB NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "deployment_plans_pkey" PRIMARY KEY ("id")
);

CREATE INDEX "deployment_plans_organization_id_idx" ON "deployment_plans"("organization_id");

CREATE INDEX "deployment_plans_stack_id_idx" ON "deployment_plans"("stack_id");

CREATE INDEX "deployment_plans_stack_version_id_idx" ON "deployment_plans"("stack_version_id");

CREATE INDEX "deployment_plans_environment_id_idx" ON "deployment_plans"("environment_id");

CREATE INDEX "deployment_plans_expires_at_idx" ON "deployment_plans"("expires_at");

ALTER TABLE "deployment_plans" ADD CONSTRAINT "deployment_plans_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "deployment_plans" ADD CONSTRAINT "deployment_plans_stack_id_fkey" FOREIGN KEY ("stack_id") REFERENCES "stacks"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "deployment_plans" ADD CONSTRAINT "deployment_plans_stack_version_id_fkey" FOREIGN KEY ("stack_version_id") REFERENCES "stack_versions"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "deployment_plans" ADD CONSTRAINT "deployment_plans_environment_id_fkey" FOREIGN KEY ("environment_id") REFERENCES "environments"("id") ON DELETE CASCADE ON UPDATE CASCADE;
