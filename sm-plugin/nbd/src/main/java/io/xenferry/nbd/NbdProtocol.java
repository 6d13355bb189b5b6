package io.xenferry.nbd;

import io.xenferry.block.BlockException.Kind;

/** Numbers of the NBD protocol document (doc/proto.md of the NetworkBlockDevice project). */
final class NbdProtocol {
  private NbdProtocol() {}

  static final long MAGIC = 0x4e42444d41474943L;
  static final long OPTION_MAGIC = 0x49484156454F5054L;
  static final long OPTION_REPLY_MAGIC = 0x3e889045565a9L;
  static final int REQUEST_MAGIC = 0x25609513;
  static final int SIMPLE_REPLY_MAGIC = 0x67446698;
  static final int STRUCTURED_REPLY_MAGIC = 0x668e33ef;

  static final int FIXED_NEWSTYLE = 1;
  static final int NO_ZEROES = 2;

  static final int OPT_EXPORT_NAME = 1;
  static final int OPT_ABORT = 2;
  static final int OPT_LIST = 3;
  static final int OPT_STARTTLS = 5;
  static final int OPT_INFO = 6;
  static final int OPT_GO = 7;
  static final int OPT_STRUCTURED_REPLY = 8;
  static final int OPT_LIST_META_CONTEXT = 9;
  static final int OPT_SET_META_CONTEXT = 10;

  static final int REP_ACK = 1;
  static final int REP_SERVER = 2;
  static final int REP_INFO = 3;
  static final int REP_META_CONTEXT = 4;
  static final int REP_ERROR = 1 << 31;
  static final int REP_ERR_UNSUP = REP_ERROR | 1;
  static final int REP_ERR_POLICY = REP_ERROR | 2;
  static final int REP_ERR_INVALID = REP_ERROR | 3;
  static final int REP_ERR_TLS_REQD = REP_ERROR | 5;
  static final int REP_ERR_UNKNOWN = REP_ERROR | 6;

  static final int INFO_EXPORT = 0;
  static final int INFO_BLOCK_SIZE = 3;

  static final int FLAG_HAS_FLAGS = 1;
  static final int FLAG_READ_ONLY = 2;
  static final int FLAG_SEND_FLUSH = 4;
  static final int FLAG_SEND_FUA = 8;
  static final int FLAG_SEND_TRIM = 32;
  static final int FLAG_SEND_WRITE_ZEROES = 64;
  static final int FLAG_SEND_DF = 128;
  static final int FLAG_CAN_MULTI_CONN = 256;

  static final int CMD_READ = 0;
  static final int CMD_WRITE = 1;
  static final int CMD_DISC = 2;
  static final int CMD_FLUSH = 3;
  static final int CMD_TRIM = 4;
  static final int CMD_WRITE_ZEROES = 6;
  static final int CMD_BLOCK_STATUS = 7;

  static final int CMD_FLAG_FUA = 1;
  static final int CMD_FLAG_NO_HOLE = 2;
  static final int CMD_FLAG_DF = 4;
  static final int CMD_FLAG_REQ_ONE = 8;

  static final int CHUNK_DONE = 1;
  static final int CHUNK_NONE = 0;
  static final int CHUNK_OFFSET_DATA = 1;
  static final int CHUNK_OFFSET_HOLE = 2;
  static final int CHUNK_BLOCK_STATUS = 5;
  static final int CHUNK_ERROR = 1 << 15 | 1;
  static final int CHUNK_ERROR_OFFSET = 1 << 15 | 2;

  static final int STATE_HOLE = 1;
  static final int STATE_ZERO = 2;

  static final int EPERM = 1;
  static final int EIO = 5;
  static final int ENOMEM = 12;
  static final int EINVAL = 22;
  static final int ENOSPC = 28;
  static final int EOVERFLOW = 75;
  static final int ENOTSUP = 95;
  static final int ESHUTDOWN = 108;

  static final int REQUEST_BYTES = 28;

  /** The largest payload that every server takes. */
  static final int MAX_PAYLOAD = 32 << 20;

  /** "The maximum length of a string is 4096 bytes." */
  static final int MAX_STRING = 4096;

  static final String BASE_ALLOCATION = "base:allocation";

  static Kind kindOf(int error) {
    return switch (error) {
      case EPERM -> Kind.READ_ONLY;
      case ENOMEM -> Kind.BUSY;
      case EINVAL, EOVERFLOW -> Kind.OUT_OF_RANGE;
      case ENOSPC -> Kind.NO_SPACE;
      case ESHUTDOWN -> Kind.LOST;
      default -> Kind.IO;
    };
  }

  static int errorOf(Kind kind) {
    return switch (kind) {
      case READ_ONLY -> EPERM;
      case BUSY -> ENOMEM;
      case OUT_OF_RANGE -> EINVAL;
      case NO_SPACE -> ENOSPC;
      case CLOSED -> ESHUTDOWN;
      case IO, TIMEOUT, LOST, RESET, PROTOCOL, ACCESS -> EIO;
    };
  }
}
