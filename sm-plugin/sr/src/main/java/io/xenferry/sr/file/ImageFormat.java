package io.xenferry.sr.file;

import java.util.Optional;

/** How the bytes of a disk stand in a file. The file's name ends in the format's name. */
enum ImageFormat {
  RAW("raw"),
  QCOW2("qcow2");

  /** In device_config of an SR and in sm_config of a VDI, as XCP-ng's clients name it. */
  static final String KEY = "image-format";

  private final String word;

  ImageFormat(String word) {
    this.word = word;
  }

  String word() {
    return word;
  }

  String suffix() {
    return "." + word;
  }

  static Optional<ImageFormat> of(String word) {
    for (ImageFormat format : values()) {
      if (format.word.equals(word)) {
        return Optional.of(format);
      }
    }
    return Optional.empty();
  }
}
