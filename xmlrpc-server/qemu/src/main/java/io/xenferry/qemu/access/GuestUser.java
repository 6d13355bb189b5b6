package io.xenferry.qemu.access;

import java.util.List;

/**
 * As whom a guest's processes run. No account need exist: the kernel asks for numbers.
 *
 * @param uid of this guest
 * @param gid may only pass through directories on the way to guests' files
 */
public record GuestUser(int uid, int gid) {

  /**
   * What comes before a program's own words so that it runs as this user from its first
   * instruction: without capabilities or further groups, and without a way to get any.
   *
   * @param groups beside its own, for devices
   */
  public List<String> command(List<Integer> groups) {
    return List.of(
        "setpriv",
        "--reuid=" + uid,
        "--regid=" + gid,
        groups.isEmpty()
            ? "--clear-groups"
            : "--groups=" + String.join(",", groups.stream().map(String::valueOf).toList()),
        "--no-new-privs",
        "--inh-caps=-all",
        "--ambient-caps=-all",
        "--bounding-set=-all",
        "--");
  }
}
