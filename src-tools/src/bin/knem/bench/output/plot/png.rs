// SPDX-License-Identifier: CECILL-B
//! The picture as PNG.

use plotters::prelude::{BitMapBackend, IntoDrawingArea};

use super::cannot;
use super::drawing::{draw, HEIGHT, WIDTH};
use crate::bench::results::Results;
use crate::exit::Failure;

/// Pixels of the drawing per unit of the picture, in each direction.
const SCALE: u32 = 3;
const CHANNELS: usize = 3;

/// Draws, scales down and encodes.
pub(super) fn draw_png(results: &Results) -> Result<Vec<u8>, Failure> {
    let (wide, high) = (WIDTH * SCALE, HEIGHT * SCALE);
    let mut pixels = vec![0; wide as usize * high as usize * CHANNELS];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, (wide, high)).into_drawing_area();
        draw(&area, results, SCALE)?;
        area.present().map_err(|error| cannot(&error))?;
    }
    encode(&smaller(&pixels, wide as usize, SCALE as usize))
}

/// Scales down: each pixel is the mean of a square of pixels.
fn smaller(pixels: &[u8], wide: usize, square: usize) -> Vec<u8> {
    let line = wide * CHANNELS;
    let mut result = Vec::with_capacity(pixels.len() / (square * square));
    let mut sums = vec![0u32; line / square];
    for lines in pixels.chunks_exact(line * square) {
        sums.fill(0);
        for line in lines.chunks_exact(line) {
            for (block, sums) in line.chunks_exact(square * CHANNELS).zip(sums.chunks_exact_mut(CHANNELS)) {
                for pixel in block.chunks_exact(CHANNELS) {
                    for (sum, value) in sums.iter_mut().zip(pixel) {
                        *sum += u32::from(*value);
                    }
                }
            }
        }
        let count = u32::try_from(square * square).unwrap_or(1).max(1);
        result.extend(sums.iter().map(|sum| u8::try_from((sum + count / 2) / count).unwrap_or(u8::MAX)));
    }
    result
}

fn encode(pixels: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, WIDTH, HEIGHT);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    let mut writer = encoder.write_header().map_err(|error| cannot(&error))?;
    writer.write_image_data(pixels).map_err(|error| cannot(&error))?;
    writer.finish().map_err(|error| cannot(&error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::methods::Method;
    use crate::bench::results::samples;

    #[test]
    fn means_are_of_squares() {
        // Two squares of two by two pixels: black and white, and one of a colour.
        let line = |one: [u8; 3], other: [u8; 3]| [one, other, [10, 20, 30], [10, 20, 30]].concat();
        let pixels = [line([0; 3], [255; 3]), line([255; 3], [0; 3])].concat();
        assert_eq!(smaller(&pixels, 4, 2), [128, 128, 128, 10, 20, 30]);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let results = samples::results(&[Method::KnemCached, Method::Shm], &[4096, 1 << 20]);
        let bytes = draw_png(&results).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((frame.width, frame.height, frame.color_type), (WIDTH, HEIGHT, png::ColorType::Rgb));
        let count = |colour: [u8; 3]| pixels.chunks_exact(3).filter(|pixel| **pixel == colour).count();
        // Paper, the lines' colours, and letters.
        assert!(count([255; 3]) > pixels.len() / 3 / 2);
        assert!(count([0, 114, 178]) > 500 && count([170, 51, 119]) > 300);
        let title = &pixels[..40 * WIDTH as usize * 3];
        assert!(title.chunks_exact(3).filter(|pixel| pixel[0] < 80).count() > 300, "there is a title");
    }
}
