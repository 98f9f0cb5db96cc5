// SPDX-License-Identifier: CECILL-B
//! Line styles of the methods. They differ in colour, marker and dashes, so that no single property has to be
//! distinguished.

use plotters::style::RGBColor;

use crate::bench::methods::Method;

/// The mark at each measured size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// A disc.
    Disc,
    /// A square.
    Square,
    /// A triangle on its base.
    Triangle,
    /// A square on its corner.
    Diamond,
    /// A triangle on its tip.
    Tip,
    /// A ring.
    Ring,
}

/// The style of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineStyle {
    /// Its colour.
    pub(super) colour: RGBColor,
    /// Its marks.
    pub(super) mark: Mark,
    /// Dashed: all methods but KNEM's.
    pub(super) dashed: bool,
}

/// Returns the style of a method. The colours are those of Okabe and Ito, which colour-blind people can distinguish.
pub(super) fn line_style(method: Method) -> LineStyle {
    let (colour, mark) = match method {
        Method::KnemCached => ((0, 114, 178), Mark::Disc),
        Method::KnemOneshot => ((213, 94, 0), Mark::Square),
        Method::KnemAsync => ((0, 158, 115), Mark::Triangle),
        Method::KnemWrite => ((86, 180, 233), Mark::Diamond),
        Method::KnemRegion => ((204, 121, 167), Mark::Tip),
        Method::KnemPinned => ((230, 159, 0), Mark::Ring),
        Method::VmRead => ((0, 0, 0), Mark::Triangle),
        Method::VmWrite => ((90, 90, 90), Mark::Tip),
        Method::Shm => ((170, 51, 119), Mark::Square),
        Method::Xpmem => ((0, 110, 80), Mark::Diamond),
        Method::Memcpy => ((150, 150, 150), Mark::Ring),
    };
    let (red, green, blue) = colour;
    LineStyle { colour: RGBColor(red, green, blue), mark, dashed: !method.is_knem() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_methods_look_alike() {
        for one in Method::ALL {
            for other in Method::ALL.into_iter().filter(|other| *other != one) {
                let (one, other) = (line_style(one), line_style(other));
                assert!(one.colour.0 != other.colour.0 || one.colour.1 != other.colour.1);
                assert!((one.mark, one.dashed) != (other.mark, other.dashed));
            }
        }
    }
}
