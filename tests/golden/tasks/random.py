"""Prints the first numbers of the stream ("niah", 43, 7), for tests/test_tasks.c: xoshiro256** seeded through splitmix64."""
M = (1 << 64) - 1


def splitmix(state):
    state = (state + 0x9E3779B97F4A7C15) & M
    z = state
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & M
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & M
    return state, z ^ z >> 31


def rotate(x, k):
    return (x << k | x >> 64 - k) & M


def stream(task, seed, index):
    state = 0xCBF29CE484222325
    for byte in task.encode():
        state = ((state ^ byte) * 0x100000001B3) & M
    for word in (seed, index):
        state = splitmix(state)[1] ^ word
    s = []
    for _ in range(4):
        state, z = splitmix(state)
        s.append(z)
    while True:
        yield rotate(s[1] * 5 & M, 7) * 9 & M
        t = s[1] << 17 & M
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotate(s[3], 45)


if __name__ == "__main__":
    numbers = stream("niah", 43, 7)
    print(", ".join(f"0x{next(numbers):016x}" for _ in range(4)))
