"""The flags of train.py and train_high_res.py, with the help that a newcomer reads first. Imports no torch: --help is there at once."""

from ddpm_core.commandline import Parser, number, one_of, whole
from ddpm_core.config import CHOICES, NUMBERS, PRESETS, SIZES, WHOLE

EXAMPLES = """\
examples:
  python train.py                                            CIFAR-10 at 32 px
  python train_high_res.py                                   4,495 small drawings (OpenMoji), no download
  python train_high_res.py --dataset=cifar10 --size=64
  python train_high_res.py --dataset=cifar10 --size=128
  python train_high_res.py --dataset=cifar10 --size=256      needs a high-end graphics card
  python train_high_res.py --dataset=imagenet --size=96      STL-10, a small stand-in for ImageNet
  python train_high_res.py --dataset=~/Pictures/cats --size=64 --name cats
  python train_high_res.py --resume --name cats              goes on where it was stopped (Ctrl-C)
  python train_high_res.py --resume --name cats --epochs=3000
                                                             makes a finished run longer
  python train_high_res.py --dataset=cats.zip --size=128 --from-model checkpoints/cats/ddpm_best.pt
                                                             larger pictures, grown from a trained smaller model
  python train_high_res.py --dataset=cifar10 --size=128 --plan
                                                             what that would take here, and on other cards

while it trains:
  Ctrl-C              saves and ends; --resume goes on from there
  kill -USR1 PID      cools down and finishes: cleaner pictures, some steps later (Linux, macOS)

where something is in the way:
  out of memory       fewer pictures at once are taken by themselves; --preset small, or a smaller --size
  odd losses          --no-amp
  torch.compile fails the run goes on without; --no-compile does not even try
  slow                the first lines say what it runs on, and why not on the graphics card; try --size=32 first

then:
  python inference_high_res.py --model=checkpoints/cats/ddpm_best.pt --samples=16
"""

# These say where and how; every other flag is a setting of the run (config.RunConfig).
NO_SETTINGS = ("name", "resume", "output_dir", "data_dir", "plan")


def parser(dataset: str, size: int) -> Parser:
    """The flags; `dataset` and `size` are what is trained when nobody says."""
    flags = Parser(
        usage="%(prog)s [--dataset=NAME] [--size=PIXELS] [other flags, see below]",
        description="Train a diffusion model. Nothing has to be set; stop at any time with Ctrl-C.",
        epilog=EXAMPLES,
    )
    what = flags.add_argument_group("what to learn")
    what.add_argument(
        "--dataset",
        metavar="NAME",
        help="openmoji, openmoji:GROUP, cifar10, cifar100, imagenet (that is STL-10), celeba, fashion_mnist, mnist,"
        f" or the path of a folder or a .zip of images (default: {dataset})",
    )
    what.add_argument(
        "--size",
        type=one_of(*SIZES, what="size"),
        metavar="PIXELS",
        help=f"side of the pictures: {', '.join(map(str, SIZES))} (default: {size})",
    )
    what.add_argument(
        "--preset",
        type=one_of("auto", *PRESETS, what="preset"),
        metavar="NAME",
        help="how much the network can remember: cpu (learns on two cores), small (a card of 6 GB), standard, large"
        " (24 GB), classic (the recipe of the 2020 paper, slow, to compare with), or auto: what suits this machine"
        " (default)",
    )
    what.add_argument("--from-model", metavar="FILE", help="start from this trained model instead of from nothing")
    what.add_argument(
        "--plan",
        action="store_true",
        help="train nothing: only say what this would take, in time, memory and disk, here and on other graphics cards",
    )

    long = flags.add_argument_group("how long")
    long.add_argument(
        "--epochs",
        type=whole(*WHOLE["epochs"]),
        metavar="N",
        help="passes over the pictures (default: 50, more for a small set)",
    )
    long.add_argument(
        "--max-steps",
        type=whole(0, WHOLE["max_steps"][1]),
        metavar="N",
        help="stop after this many steps even where epochs are left; 0: no limit, also for a run that had one (default)",
    )
    long.add_argument(
        "--cooldown",
        type=number(*NUMBERS["cooldown"]),
        metavar="SHARE",
        help="over this last share of the run the learning rate falls to zero, for example 0.2;"
        " with --resume and --max-steps it brings a run to a good end (default: 0)",
    )

    where = flags.add_argument_group("where it is kept")
    where.add_argument(
        "--name",
        metavar="NAME",
        help="the run's folder (default: made of data set and size; where that is taken, with -2, -3, ... behind it)",
    )
    where.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    where.add_argument(
        "--output-dir",
        metavar="FOLDER",
        help="where checkpoints/, samples/ and training_progress/ go (default: this folder)",
    )
    where.add_argument("--data-dir", metavar="FOLDER", help="where data sets are kept (default: data)")
    _rare(flags)
    return flags


def _rare(flags: Parser) -> None:
    """What nobody has to know at first."""
    pictures = flags.add_argument_group("the pictures, if they need it")
    pictures.add_argument(
        "--crop",
        type=one_of(*CHOICES["crop"], what="crop"),
        metavar="HOW",
        help="how a picture becomes a square: center, its middle (default), or pad, all of it with a border",
    )
    pictures.add_argument(
        "--background",
        type=one_of(*CHOICES["background"], what="background"),
        metavar="COLOUR",
        help="of transparent pictures and of borders: white (default), black or grey",
    )
    pictures.add_argument(
        "--colour",
        type=one_of(*CHOICES["colour"], what="choice of colour"),
        metavar="HOW",
        help="colour, grey, or auto: grey for a set that is grey, such as mnist; a folder or a .zip is colour (default)",
    )
    pictures.add_argument(
        "--flip",
        action="store_true",
        help="show every picture mirrored half of the time; what is drawn later may be mirrored too",
    )
    pictures.add_argument(
        "--augment",
        type=number(*NUMBERS["augment"]),
        metavar="P",
        help="for small sets: also learn from mirrored, turned, scaled and shifted pictures, each with this chance;"
        " the network is told, and draws them as they were. Try 0.12 (default: 0)",
    )
    pictures.add_argument(
        "--held-out",
        type=number(*NUMBERS["held_out"]),
        metavar="SHARE",
        help="pictures that are never trained on; they tell learning from learning by heart (default: 0.05)",
    )
    pictures.add_argument(
        "--class-conditional",
        action="store_true",
        help="learn the classes as well (sub-folders are classes), so that you can ask for one of them",
    )
    pictures.add_argument(
        "--label-drop",
        type=number(*NUMBERS["label_drop"]),
        metavar="SHARE",
        help="pictures whose class is not told, so that pictures can be made without one, too, and guided (0: they cannot;"
        " default: 0.1)",
    )

    recipe = flags.add_argument_group("the recipe, if you know better")
    recipe.add_argument(
        "--batch-size",
        type=whole(*WHOLE["batch_size"]),
        metavar="N",
        help="pictures in one step (default: the preset's)",
    )
    recipe.add_argument(
        "--lr", type=number(*NUMBERS["lr"]), metavar="RATE", help="learning rate (default: the preset's)"
    )
    recipe.add_argument(
        "--seed", type=whole(*WHOLE["seed"]), metavar="N", help="the same seed gives the same run (default: 0)"
    )
    recipe.add_argument(
        "--no-snapshots",
        dest="snapshots",
        action="store_false",
        help="keep no copies of the weight averages (16 at most, each as large as a model file); autoguidance and averages of other"
        " lengths then cannot be had",
    )

    machine = flags.add_argument_group("the machine, if it is in the way")
    machine.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps (default: auto)")
    machine.add_argument(
        "--micro-batch",
        type=whole(*WHOLE["micro_batch"]),
        metavar="N",
        help="pictures in memory at once; a step adds up as many of these as its batch has (default: as many as fit)",
    )
    machine.add_argument(
        "--data-on",
        type=one_of(*CHOICES["data_on"], what="place"),
        metavar="PLACE",
        help="where the pictures wait: device, memory, disk, or auto: the first that has room (default)",
    )
    machine.add_argument("--no-amp", dest="amp", action="store_false", help="no mixed precision: float32 throughout")
    machine.add_argument(
        "--no-compile",
        dest="compile",
        action="store_false",
        help="the plainest way: no torch.compile, no recorded steps",
    )
