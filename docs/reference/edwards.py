"""edwards25519 and curve25519 in plain integers: slow, not constant-time, and easy to compare with RFC 8032
and RFC 7748. Used to judge public keys and signatures, and to make the odd points of the test vectors; never
with a secret that matters."""

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_ONE = pow(2, (P - 1) // 4, P)

IDENTITY = (0, 1)


def add(a, b):
    (x1, y1), (x2, y2) = a, b
    product = D * x1 * x2 * y1 * y2 % P
    x3 = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    y3 = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P
    return (x3, y3)


def negate(a):
    return (-a[0] % P, a[1])


def multiply(scalar, point):
    # In projective coordinates, with the same complete formula, so that there is one inversion at the end.
    x, y, z = 0, 1, 1
    for bit in bin(scalar)[2:]:
        x, y, z = add_projective((x, y, z), (x, y, z))
        if bit == "1":
            x, y, z = add_projective((x, y, z), (*point, 1))
    inverse = pow(z, -1, P)
    return (x * inverse % P, y * inverse % P)


def add_projective(p, q):
    (x1, y1, z1), (x2, y2, z2) = p, q
    a = z1 * z2 % P
    b, c, d = a * a % P, x1 * x2 % P, y1 * y2 % P
    e = D * c * d % P
    f, g = b - e, b + e
    return (a * f * ((x1 + y1) * (x2 + y2) - c - d) % P, a * g * (d + c) % P, f * g % P)


def recover_x(y, sign):
    """The x of a point with this y whose lowest bit is `sign`, or None. x = 0 is returned for either sign."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * SQRT_MINUS_ONE % P
    if (x * x - square) % P:
        return None
    return -x % P if x & 1 != sign else x


def encode(point):
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def decode(data):
    """The point that a lenient reader takes these 32 bytes for: y is reduced, and the sign of x = 0 is
    ignored. None if there is none. Encodings are canonical if `encode` gives them back."""
    number = int.from_bytes(data, "little")
    y = (number & (2**255 - 1)) % P
    x = recover_x(y, number >> 255)
    return None if x is None else (x, y)


def is_small_order(point):
    return multiply(8, point) == IDENTITY


BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def small_order_points():
    """The eight points whose order divides 8, from the identity on."""
    y = 2
    while True:
        x = recover_x(y, 0)
        if x is not None:
            generator = multiply(L, (x, y))
            if multiply(4, generator) != IDENTITY:
                return [multiply(i, generator) for i in range(8)]
        y += 1


def montgomery_is_low_order(u):
    """Whether doubling the point with this u three times, on the curve or on its twist, gives the neutral
    element."""
    x, z = u % P, 1
    for _ in range(3):
        plus, minus = (x + z)**2 % P, (x - z)**2 % P
        difference = plus - minus
        x, z = plus * minus % P, difference * (minus + 121666 * difference) % P
    return z == 0


def signature_equation(public_key, message, signature, cofactor=1, reduce=True):
    """[cofactor][S]B = [cofactor](R + [k]A), whatever the form of A, R and S. Where A has a part of small
    order, it matters whether k is reduced modulo L first, as implementations do and RFC 8032 allows."""
    a, r = decode(public_key), decode(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    k = int.from_bytes(hashlib.sha512(signature[:32] + public_key + message).digest(), "little")
    right = add(r, multiply(k % L if reduce else k, a))
    return multiply(cofactor, multiply(s, BASE)) == multiply(cofactor, right)
