import type { FrameSink } from '../../protocol/decode.js';
import { LoginError } from '../../protocol/decode.js';
import { type OpenedLogin, openClientInfo } from '../../protocol/login.js';
import { FrameType, HEADER_LENGTH, MIN_CLIENT_INFO_LENGTH } from '../../protocol/wire.js';
import type { PlaneContext } from './context.js';

/** Reads the only frame of a client that has not proven its key: ClientInfo. */
export class LoginPhase implements FrameSink {
  constructor(
    private readonly context: PlaneContext,
    private readonly onLogin: (login: OpenedLogin) => void,
  ) {}

  onHeader(type: number, length: number): boolean {
    if (type !== FrameType.ClientInfo) throw new LoginError('no_client_info', `the first frame has type ${type}`);
    if (length < MIN_CLIENT_INFO_LENGTH || length > this.context.policy.limits.clientInfoBytes) {
      throw new LoginError('bad_length', `a ClientInfo of ${length} bytes`);
    }
    return true;
  }

  onFrame(_type: number, frame: Buffer): void {
    this.onLogin(openClientInfo(frame.subarray(HEADER_LENGTH), this.context.keys.privateKey));
  }
}

/** Between login and admission the decoder is paused, so no frame arrives. */
export const WaitingPhase: FrameSink = {
  onHeader(): boolean {
    throw new Error('a frame before admission');
  },
  onFrame(): void {},
};
