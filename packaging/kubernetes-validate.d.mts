/** Checks files for a version of Kubernetes such as `1.31`; returns what is wrong, or empty text. */
export function kubernetesValidate(): (version: string, files: readonly string[]) => string;
