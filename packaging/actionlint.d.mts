/** The path of actionlint, built if need be. Throws with the reason where it cannot be had. */
export function actionlint(): Promise<string>;
