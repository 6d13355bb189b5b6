package io.xenferry.copy;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class BufferPoolTest {
  private final BufferPool pool = new BufferPool(16, 4 * 16, ByteBuffer::allocate);
  private final List<String> told = new ArrayList<>();
  private final BufferPool.Share first = pool.share();
  private final BufferPool.Share second = pool.share();
  private final List<ByteBuffer> held = new ArrayList<>();

  private ByteBuffer take(BufferPool.Share share, String name) {
    ByteBuffer buffer = share.acquire(() -> told.add(name));
    if (buffer != null) {
      held.add(buffer);
    }
    return buffer;
  }

  private void takeAll() {
    for (int i = 0; i < 4; i++) {
      assertThat(take(first, "first")).isNotNull();
    }
    assertThat(take(first, "first")).isNull();
  }

  @Test
  void whoHasTheFewestComesNextUntilAllHaveAsMany() {
    takeAll();
    assertThat(take(second, "second")).isNull();

    first.release(held.removeFirst());
    assertThat(told).containsExactly("second");
    assertThat(take(first, "first")).as("kept for the other").isNull();
    assertThat(take(second, "second")).isNotNull();
    assertThat(take(second, "second")).isNull();
    first.release(held.removeFirst());
    assertThat(take(second, "second")).isNotNull();
    assertThat(take(second, "second")).isNull();
    told.clear();

    second.release(held.removeLast());

    assertThat(told).as("of as many, none waits for ever").containsExactly("second");
    assertThat(take(second, "second")).isNotNull();
    assertThat(take(second, "second")).isNull();
    first.release(held.removeFirst());
    assertThat(told).containsExactly("second", "first");
  }

  @Test
  void whatIsKeptForOneWhoHasNoUseForItIsForTheNext() {
    takeAll();
    take(second, "second");
    first.release(held.removeFirst());
    assertThat(told).containsExactly("second");

    second.waitNoMore();

    assertThat(told).containsExactly("second", "first");
    assertThat(take(first, "first")).isNotNull();
    assertThat(pool.inUse()).isEqualTo(4);
  }

  @Test
  void whoeverWaitsNoMoreIsKeptNothing() {
    takeAll();
    take(second, "second");
    first.waitNoMore();
    second.waitNoMore();

    held.forEach(first::release);

    assertThat(told).isEmpty();
    assertThat(pool.inUse()).isZero();
  }

  @Test
  void theBufferOfADeadRequestIsNotUsedAgain() {
    ByteBuffer dead = take(first, "first");

    first.discard();

    assertThat(pool.inUse()).isZero();
    for (int i = 0; i < 4; i++) {
      assertThat(take(first, "first")).isNotSameAs(dead);
    }
  }
}
