/** Installs kubernetes-validate, which brings the schemas of Kubernetes' versions: from PyPI, into the cache, once. */
import { spawnSync } from 'node:child_process';
import { fromPyPi } from './zig.mjs';

const PACKAGES = [
  ...[
    'kubernetes-validate==1.37.0',
    'jsonschema==4.26.0',
    'jsonschema-specifications==2025.9.1',
    'referencing==0.37.0',
  ],
  ...['rpds-py==2026.9.1', 'attrs==26.1.0', 'PyYAML==6.0.4', 'importlib-resources==7.1.0', 'packaging==26.4'],
  ...['typing-extensions==4.16.0'],
];

/** A function that checks files for a version of Kubernetes and returns what is wrong. Throws if it cannot be installed. */
export function kubernetesValidate() {
  const place = fromPyPi('kubernetes-validate', PACKAGES, 'kubernetes-validate, with the schemas of Kubernetes');
  return (version, files) => {
    const args = ['-m', 'kubernetes_validate', '--strict', '--kubernetes-version', version, ...files];
    const env = { ...process.env, PYTHONPATH: place, PYTHONDONTWRITEBYTECODE: '1' };
    const { status, stdout, stderr, error } = spawnSync('python3', args, { encoding: 'utf8', env });
    if (error) throw error;
    return status === 0 ? '' : `${stdout}${stderr}` || `status ${status}`;
  };
}
