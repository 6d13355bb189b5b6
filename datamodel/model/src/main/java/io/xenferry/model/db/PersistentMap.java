package io.xenferry.model.db;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;

/**
 * A sorted map that never changes: adding and removing give a new map which shares all but O(log n)
 * nodes with the old one. An AVL tree; safe to read from any thread.
 */
final class PersistentMap<K extends Comparable<K>, V> {
  private final @Nullable Node<K, V> root;

  private PersistentMap(@Nullable Node<K, V> root) {
    this.root = root;
  }

  static <K extends Comparable<K>, V> PersistentMap<K, V> empty() {
    return new PersistentMap<>(null);
  }

  private record Node<K, V>(
      K key, V value, @Nullable Node<K, V> left, @Nullable Node<K, V> right, int height, int size) {

    static <K, V> Node<K, V> of(
        K key, V value, @Nullable Node<K, V> left, @Nullable Node<K, V> right) {
      return new Node<>(
          key,
          value,
          left,
          right,
          1 + Math.max(height(left), height(right)),
          1 + size(left) + size(right));
    }

    static int height(@Nullable Node<?, ?> n) {
      return n == null ? 0 : n.height;
    }

    static int size(@Nullable Node<?, ?> n) {
      return n == null ? 0 : n.size;
    }
  }

  int size() {
    return Node.size(root);
  }

  boolean isEmpty() {
    return root == null;
  }

  @Nullable V get(K key) {
    Node<K, V> n = root;
    while (n != null) {
      int c = key.compareTo(n.key);
      if (c == 0) {
        return n.value;
      }
      n = c < 0 ? n.left : n.right;
    }
    return null;
  }

  PersistentMap<K, V> with(K key, V value) {
    return new PersistentMap<>(put(root, key, value));
  }

  PersistentMap<K, V> without(K key) {
    return get(key) == null ? this : new PersistentMap<>(remove(root, key));
  }

  /** The smallest key, or null of an empty map. */
  @Nullable K firstKey() {
    return root == null ? null : first(root).key;
  }

  void forEach(BiConsumer<K, V> action) {
    Iterator<Node<K, V>> i = nodesAfter(null);
    while (i.hasNext()) {
      Node<K, V> n = i.next();
      action.accept(n.key, n.value);
    }
  }

  Iterable<V> values() {
    return () -> valuesAfter(null);
  }

  /** Values of the keys greater than the given one, in order; all of them when it is null. */
  Iterator<V> valuesAfter(@Nullable K key) {
    Iterator<Node<K, V>> nodes = nodesAfter(key);
    return new Iterator<>() {
      @Override
      public boolean hasNext() {
        return nodes.hasNext();
      }

      @Override
      public V next() {
        return nodes.next().value;
      }
    };
  }

  private Iterator<Node<K, V>> nodesAfter(@Nullable K key) {
    Deque<Node<K, V>> path = new ArrayDeque<>();
    Node<K, V> n = root;
    while (n != null) {
      if (key == null || key.compareTo(n.key) < 0) {
        path.push(n);
        n = n.left;
      } else {
        n = n.right;
      }
    }
    return new Iterator<>() {
      @Override
      public boolean hasNext() {
        return !path.isEmpty();
      }

      @Override
      public Node<K, V> next() {
        if (path.isEmpty()) {
          throw new NoSuchElementException();
        }
        Node<K, V> next = path.pop();
        for (Node<K, V> m = next.right; m != null; m = m.left) {
          path.push(m);
        }
        return next;
      }
    };
  }

  private static <K extends Comparable<K>, V> Node<K, V> put(
      @Nullable Node<K, V> n, K key, V value) {
    if (n == null) {
      return Node.of(key, value, null, null);
    }
    int c = key.compareTo(n.key);
    if (c == 0) {
      return Node.of(key, value, n.left, n.right);
    }
    return c < 0
        ? balanced(n.key, n.value, put(n.left, key, value), n.right)
        : balanced(n.key, n.value, n.left, put(n.right, key, value));
  }

  private static <K extends Comparable<K>, V> @Nullable Node<K, V> remove(
      @Nullable Node<K, V> n, K key) {
    if (n == null) {
      return null;
    }
    int c = key.compareTo(n.key);
    if (c < 0) {
      return balanced(n.key, n.value, remove(n.left, key), n.right);
    }
    if (c > 0) {
      return balanced(n.key, n.value, n.left, remove(n.right, key));
    }
    if (n.left == null) {
      return n.right;
    }
    if (n.right == null) {
      return n.left;
    }
    Node<K, V> successor = first(n.right);
    return balanced(successor.key, successor.value, n.left, remove(n.right, successor.key));
  }

  private static <K, V> Node<K, V> first(Node<K, V> n) {
    Node<K, V> m = n;
    while (m.left != null) {
      m = m.left;
    }
    return m;
  }

  private static <K, V> Node<K, V> balanced(
      K key, V value, @Nullable Node<K, V> left, @Nullable Node<K, V> right) {
    int slope = Node.height(left) - Node.height(right);
    if (slope > 1 && left != null) {
      Node<K, V> inner = left.right;
      if (inner != null && Node.height(left.left) < inner.height) {
        return Node.of(
            inner.key,
            inner.value,
            Node.of(left.key, left.value, left.left, inner.left),
            Node.of(key, value, inner.right, right));
      }
      return Node.of(left.key, left.value, left.left, Node.of(key, value, inner, right));
    }
    if (slope < -1 && right != null) {
      Node<K, V> inner = right.left;
      if (inner != null && Node.height(right.right) < inner.height) {
        return Node.of(
            inner.key,
            inner.value,
            Node.of(key, value, left, inner.left),
            Node.of(right.key, right.value, inner.right, right.right));
      }
      return Node.of(right.key, right.value, Node.of(key, value, left, inner), right.right);
    }
    return Node.of(key, value, left, right);
  }
}
