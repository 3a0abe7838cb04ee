/** The options that say which relay a command asks. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { isHostname, withoutFinalDot } from '../protocol/host-name.js';
import { variableOf } from './sources.js';

/** The options of {@link addTargetOptions}. */
export interface TargetOptions {
  readonly url?: string | undefined;
  /** The settings file of the relay, in place of `url`. */
  readonly config?: string | undefined;
  /** The name or address that its certificate is for, in place of the host of `url` or of its settings. */
  readonly name?: string | undefined;
}

export function addTargetOptions(command: Command): Command {
  return command
    .option(
      '--url <url>',
      'URL of the relay, http:// or https:// (default: that of serve with this file and these variables)',
    )
    .addOption(
      new Option(
        '--config <file>',
        `settings file of serve on this machine, in place of --url (default: ${variableOf('config')}, if set)`,
      ).conflicts('url'),
    )
    .addOption(
      new Option(
        '--name <host>',
        'name that the certificate is for (default: the host of --url, or the hostname of the settings)',
      ).argParser((text) => {
        if (isHostname(text)) return withoutFinalDot(text);
        throw new InvalidArgumentError('It must be a host name or an IP address.');
      }),
    );
}
