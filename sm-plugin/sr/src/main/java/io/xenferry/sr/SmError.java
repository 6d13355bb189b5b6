package io.xenferry.sr;

/** The numbers of storage failures that published clients know, as far as drivers here use them. */
public enum SmError {
  SR_IN_USE(16),
  VDI_IN_USE(24),
  SR_NOT_EMPTY(39),
  SR_SCAN(40),
  SR_EXISTS(42),
  VDI_EXISTS(43),
  SR_NO_SPACE(44),
  VDI_UNAVAILABLE(46),
  SR_UNAVAILABLE(47),
  SR_UNKNOWN_TYPE(48),
  FILE_SR_CREATE(61),
  FILE_SR_DELETE(63),
  VDI_LOAD(65),
  VDI_CREATE(78),
  VDI_SIZE(79),
  VDI_DELETE(80),
  VDI_CLONE(81),
  VDI_SNAPSHOT(82),
  CONFIG_LOCATION_MISSING(94),
  VDI_RESIZE(110),
  METADATA(181),
  EIO(200),
  GENERAL(202),
  ISO_LOCATION_MISSING(220),
  ISO_LOCAL_PATH(226),
  CBT_CHANGED_BLOCKS(460);

  private final int number;

  SmError(int number) {
    this.number = number;
  }

  public int number() {
    return number;
  }

  /** As XenAPI names a failure that has nothing but a number. */
  String code() {
    return "SR_BACKEND_FAILURE_" + number;
  }
}
