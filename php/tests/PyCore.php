<?php

/**
 * A real Python in this process, by FFI: what phpy does as an extension, and no more of it than its documentation of sockets
 * and Prise\Phpy use. It lets the tests see what happens when both languages hold the same descriptor; it is no phpy.
 *
 * Calls go as JSON through one Python function, which keeps the objects that PHP refers to by number.
 */

declare(strict_types=1);

// phpcs:disable PSR1.Classes.ClassDeclaration -- the two classes of phpy, which are global ones

final class PyObject
{
    public function __construct(public readonly int $number)
    {
    }

    public function __get(string $name): mixed
    {
        return PyCore::ask('get', $this, $name);
    }

    /** @param list<mixed> $arguments */
    public function __call(string $name, array $arguments): mixed
    {
        return PyCore::ask('call', $this, $name, ...$arguments);
    }

    public function __invoke(mixed ...$arguments): mixed
    {
        return PyCore::ask('call', $this, '__call__', ...$arguments);
    }

    public function __toString(): string
    {
        return PyCore::ask('str', $this);
    }
}

final class PyCore
{
    private const PYTHON = <<<'PYTHON'
        import base64, builtins, importlib, json

        _kept = []

        def _in(value):
            if isinstance(value, dict):
                return _kept[value["object"]] if "object" in value else base64.b64decode(value["bytes"])
            return value

        def _out(value):
            if value is None or isinstance(value, (bool, int, float, str)):
                return value
            if isinstance(value, bytes):
                return {"bytes": base64.b64encode(value).decode()}
            _kept.append(value)
            return {"object": len(_kept) - 1}

        def _asked(request):
            what, *arguments = json.loads(request)
            try:
                it, *rest = map(_in, arguments)
                if what == "import":
                    result = importlib.import_module(it)
                elif what == "builtin":
                    result = getattr(builtins, it)(*rest)
                elif what == "get":
                    result = getattr(it, *rest)
                elif what == "call":
                    result = getattr(it, rest[0])(*rest[1:])
                elif what == "str":
                    result = str(it)
                elif what == "keep":
                    _kept.append(it)
                    return json.dumps({"result": {"object": len(_kept) - 1}})
                return json.dumps({"result": _out(result)})
            except Exception as error:
                return json.dumps({"error": f"{type(error).__name__}: {error}"})
        PYTHON;

    private static ?FFI $c = null;

    private static mixed $names = null;

    public static function import(string $module): mixed
    {
        return self::ask('import', $module);
    }

    /** @param list<mixed> $items */
    public static function tuple(array $items): mixed
    {
        return self::ask('builtin', 'tuple', $items);
    }

    public static function bytes(string $bytes): mixed
    {
        return self::ask('keep', ['bytes' => base64_encode($bytes)]);
    }

    /** As phpy's: the descriptor itself, of TLS streams too. */
    public static function fileno(mixed $stream): int
    {
        $wanted = fstat($stream)['ino'];
        foreach (scandir('/proc/self/fd') as $number) {
            if (@readlink("/proc/self/fd/$number") === "socket:[$wanted]") {
                return (int) $number;
            }
        }
        throw new TypeError('no descriptor');
    }

    /** @param list<mixed> $arguments */
    public static function __callStatic(string $name, array $arguments): mixed
    {
        return self::ask('builtin', $name, ...$arguments);
    }

    public static function ask(mixed ...$request): mixed
    {
        $request = array_map(fn($each) => $each instanceof PyObject ? ['object' => $each->number] : $each, $request);
        $json = json_encode(json_encode($request), JSON_UNESCAPED_SLASHES); // a literal of Python as well
        $answer = self::python()->PyRun_String("_asked($json)", 258, self::$names, self::$names); // 258: Py_eval_input
        $answer = json_decode(self::python()->PyUnicode_AsUTF8($answer), true, flags: JSON_THROW_ON_ERROR);
        if (isset($answer['error'])) {
            throw new RuntimeException($answer['error']);
        }
        $result = $answer['result'];
        if (is_array($result)) {
            return isset($result['object']) ? new PyObject($result['object']) : base64_decode($result['bytes']);
        }
        return $result;
    }

    private static function python(): FFI
    {
        if (self::$c === null) {
            [$library, $home] = self::library();
            putenv("PYTHONHOME=$home");
            putenv('PYTHONPATH=' . dirname(__DIR__, 2) . '/src');
            self::$c = FFI::cdef(
                'void Py_InitializeEx(int); int PyRun_SimpleString(const char *); void *PyImport_AddModule(const char *);
                void *PyModule_GetDict(void *); void *PyRun_String(const char *, int, void *, void *);
                const char *PyUnicode_AsUTF8(void *);',
                $library,
            );
            putenv('PYTHONDONTWRITEBYTECODE=1');
            self::$c->Py_InitializeEx(0);
            putenv('PYTHONHOME'); // it was for this Python, not for programs that are started
            putenv('PYTHONPATH');
            self::$c->PyRun_SimpleString(self::PYTHON) === 0 ?: throw new RuntimeException('Python does not start');
            self::$names = self::$c->PyModule_GetDict(self::$c->PyImport_AddModule('__main__'));
        }
        return self::$c;
    }

    /** @return array{string, string} of a Python that is a shared library: the file, and where its modules are */
    private static function library(): array
    {
        $about = 'import sys, sysconfig as s; print(s.get_config_var("LIBDIR"), s.get_config_var("INSTSONAME"), '
            . 'sys.base_prefix, sep="\n")';
        foreach ([getenv('PRISE_PYTHON') ?: 'python3', '/usr/bin/python3'] as $python) {
            exec(escapeshellarg($python) . ' -c ' . escapeshellarg($about), $lines);
            [$folder, $library, $home] = array_splice($lines, 0);
            if (is_file("$folder/$library") && str_contains($library, '.so')) {
                return ["$folder/$library", $home];
            }
        }
        throw new RuntimeException('no Python here is a shared library; on Debian: apt-get install libpython3-dev');
    }
}
