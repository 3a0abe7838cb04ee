/** The manifests for Kubernetes: checked against its schemas, and against the image and the settings that they name. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { kubernetesValidate } from '../../packaging/kubernetes-validate.mjs';
import { gather, variableOf } from '../../src/cli/sources.js';
import { parseSettings, SETTINGS } from '../../src/config.js';
import { ROOT, temporary } from '../cli/commands.js';

const PLACE = join(ROOT, 'packaging/kubernetes');
const files = readdirSync(PLACE).map((name) => join(PLACE, name));
const dockerfile = readFileSync(join(ROOT, 'packaging/image/Dockerfile'), 'utf8');

/** An object of a manifest, as far as the tests look into it. */
interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly data: Readonly<Record<string, string>>;
  // biome-ignore lint/suspicious/noExplicitAny: its form is the schema's affair.
  readonly spec: any;
}

const all = files.flatMap((file) =>
  parseAllDocuments(readFileSync(file, 'utf8')).map((document) => document.toJS() as Manifest),
);

function one(kind: string, name = 'derpkit'): Manifest {
  const found = all.filter((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  expect(found).toHaveLength(1);
  return found[0] as Manifest;
}

let validate: ReturnType<typeof kubernetesValidate> | undefined;
let missing = '';
try {
  validate = kubernetesValidate();
} catch (error) {
  missing = (error as Error).message;
  console.warn(`left out: the schemas of Kubernetes: ${missing}`);
}

describe('manifests for Kubernetes', () => {
  it.skipIf(missing && !process.env.CI).each(['1.29', '1.33', '1.37'])(
    'Kubernetes %s accepts the manifests',
    (version) => {
      expect(validate?.(version, files)).toBe('');
    },
  );

  it.skipIf(missing && !process.env.CI)('a manifest with a field that does not exist is refused', () => {
    const file = join(temporary(), 'relays.yaml');
    writeFileSync(file, readFileSync(join(PLACE, 'relays.yaml'), 'utf8').replace('maxUnavailable', 'mostUnavailable'));
    expect(validate?.('1.33', [file])).toContain('mostUnavailable');
  });

  it('the variables of the manifests are settings, and are valid together', async () => {
    const { data } = one('ConfigMap');
    expect(Object.keys(data).filter((name) => !SETTINGS.some((setting) => variableOf(setting.name) === name))).toEqual(
      [],
    );
    const { config } = await gather({}, data);
    const { mesh, hostname, meshKeyFile, certificates, dataDir } = parseSettings(config);
    const headless = one('Service', 'derpkit-mesh');
    const { name, namespace } = headless.metadata;
    const [port] = headless.spec.ports;
    expect(mesh.discover).toEqual([
      { dns: { name: `${name}.${namespace}.svc.cluster.local`, port: port.port, tlsName: hostname } },
    ]);
    // The files that the settings name are on a volume.
    const { volumeMounts } = one('StatefulSet').spec.template.spec.containers[0];
    const mounts = (volumeMounts as { mountPath: string }[]).map(({ mountPath }) => `${mountPath}/`);
    for (const path of [meshKeyFile, certificates[0]?.chainFile, certificates[0]?.keyFile, dataDir]) {
      expect(mounts.filter((mount) => path?.startsWith(mount))).toHaveLength(1);
    }
  });

  it('the pods have the ports, the user and the health check of the image', () => {
    const { securityContext, containers } = one('StatefulSet').spec.template.spec;
    const [container] = containers;
    const ports = (container.ports as { containerPort: number; protocol?: string }[]).map(
      ({ containerPort, protocol = 'TCP' }) => `${containerPort}/${protocol.toLowerCase()}`,
    );
    expect(ports).toEqual(/^EXPOSE (.*)$/m.exec(dockerfile)?.[1]?.split(' '));
    expect(`${securityContext.runAsUser}:${securityContext.runAsGroup}`).toBe(/^USER (.*)$/m.exec(dockerfile)?.[1]);
    const health = JSON.parse(/^ +CMD (\[.*health"\])$/m.exec(dockerfile)?.[1] ?? '[]');
    for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe']) {
      expect(container[probe].exec.command).toEqual(health);
    }
  });

  it('the services, the budget and the set name one kind of pod, and pods end after their drain', async () => {
    const { spec } = one('StatefulSet');
    const labels = { 'app.kubernetes.io/name': 'derpkit' };
    expect(spec.template.metadata.labels).toEqual(labels);
    for (const selected of [spec.selector, one('PodDisruptionBudget').spec.selector]) {
      expect(selected).toEqual({ matchLabels: labels });
    }
    for (const name of ['derpkit', 'derpkit-mesh']) expect(one('Service', name).spec.selector).toEqual(labels);
    expect(one('Service', spec.serviceName).spec.clusterIP).toBe('None');
    expect(new Set(all.map(({ metadata }) => metadata.namespace))).toEqual(new Set(['derpkit']));
    const { config } = await gather({}, one('ConfigMap').data);
    expect(spec.template.spec.terminationGracePeriodSeconds * 1000).toBeGreaterThan(
      2 * parseSettings(config).mesh.drainDelay,
    );
  });
});
